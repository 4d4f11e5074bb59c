# Reference numbers for tests/test_replicates.py: gaps between women and men with jackknife weights (JKn), by R's survey
# package, on the sample that raking.R made. Run in this folder: Rscript replicate_gaps.R
# Writes replicate_gaps.csv.
suppressMessages(library(survey))
options(digits = 15)
sample <- read.csv("raking_sample.csv")
jackknife <- as.svrepdesign(svydesign(ids = ~psu, strata = ~stratum, weights = ~d, data = sample), type = "JKn")

gap <- function(variable, unit, part) {
  groups <- svyby(reformulate(variable), ~sex, part, svymean, na.rm = TRUE, covmat = TRUE)
  found <- svycontrast(groups, c(female = 1, male = -1))
  data.frame(indicator = variable, unit_id = unit, estimate = as.numeric(coef(found)), se = as.numeric(SE(found)))
}
rows <- list()
for (variable in c("satisfied", "score")) {
  rows[[length(rows) + 1]] <- gap(variable, "all", jackknife)
  for (district in unique(sample$district_id)) {
    rows[[length(rows) + 1]] <- gap(variable, district, subset(jackknife, district_id == district))
  }
}
table <- do.call(rbind, rows)
write.csv(table, "replicate_gaps.csv", row.names = FALSE, quote = FALSE)
