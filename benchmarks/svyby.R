# Times R's survey package on what benchmarks/speed.py writes: Rscript svyby.R FILE.csv INDICATORS
# Prints one line of JSON. Reading the file is not timed. One svyby call per indicator, so that each has its own
# respondents with a valid answer, as in ours.
suppressMessages(library(survey))
arguments <- commandArgs(trailingOnly = TRUE)
frame <- read.csv(arguments[1])
begin <- proc.time()[["elapsed"]]
design <- svydesign(ids = ~psu, strata = ~stratum, weights = ~weight, data = frame)
estimates <- 0
total <- 0
errors <- 0
for (number in seq_len(as.integer(arguments[2]))) {
  indicator <- paste0("y", number - 1)
  found <- svyby(reformulate(indicator), ~district_id, design, svymean, na.rm = TRUE)
  estimates <- estimates + nrow(found)
  total <- total + sum(coef(found))
  errors <- errors + sum(SE(found))
}
seconds <- proc.time()[["elapsed"]] - begin
cat(sprintf('{"estimates": %d, "seconds": %.3f, "sum": %.15g, "se": %.15g}\n', estimates, seconds, total, errors))
