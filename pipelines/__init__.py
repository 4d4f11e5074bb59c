"""How it runs: definitions, storage, jobs, sensors and the command line."""
