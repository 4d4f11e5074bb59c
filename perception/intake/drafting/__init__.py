"""How a first wave.yml is guessed from the files, part by part; `perception.intake.draft` puts it together."""
