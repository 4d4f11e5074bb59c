# Reference numbers for tests/test_weighting.py: a small stratified two-stage sample, raked to margins of its
# population, with R's survey package. Run in this folder: Rscript raking.R
# Writes raking_sample.csv (the sample with its raked weights), raking_margins.csv (persons of the population) and
# raking_estimates.csv (share, mean and totals by unit and domain).
suppressMessages(library(survey))
options(digits = 15)
set.seed(20240311)

districts <- c("kp-peshawar", "kp-mardan", "kp-swat", "punjab-lahore", "punjab-multan")
ages <- c("<25", "25-34", "35-44", "45-54", "55-64", "65+")
population <- expand.grid(
  district_id = districts, sex = c("female", "male"), urban = c("urban", "rural"), age_group = ages,
  stringsAsFactors = FALSE
)
share <- c(4, 3, 2, 1.5, 1, 0.7)[match(population$age_group, ages)]
population$persons <- round(exp(rnorm(nrow(population), 7, 0.4)) * share)

psus <- expand.grid(number = 1:5, urban = c("urban", "rural"), district_id = districts, stringsAsFactors = FALSE)
psus <- psus[!(psus$urban == "urban" & psus$number > 3), ]
psus$stratum <- paste(psus$district_id, psus$urban, sep = "/")
psus$psu <- paste(psus$stratum, psus$number, sep = "/")
psus$level <- rnorm(nrow(psus), 0, 0.6)
psus$design_weight <- exp(rnorm(nrow(psus), 6.5, 0.5))
sample <- psus[rep(seq_len(nrow(psus)), times = sample(7:11, nrow(psus), replace = TRUE)), ]
n <- nrow(sample)
sample$sex <- ifelse(runif(n) < 0.4, "female", "male")
sample$age_group <- sample(ages, n, replace = TRUE, prob = c(3, 3, 2.5, 2, 1.5, 1))
sample$d <- round(sample$design_weight * runif(n, 0.8, 1.25), 4)
older <- match(sample$age_group, ages)
sample$satisfied <- as.integer(runif(n) < plogis(sample$level - 0.5 + 0.2 * older + 0.5 * (sample$sex == "male")))
sample$score <- round(5 + sample$level + 0.6 * older - (sample$urban == "urban") + rnorm(n), 3)
sample$score[runif(n) < 0.1] <- NA
sample$province_id <- sub("-.*", "", sample$district_id)
keep <- c("district_id", "province_id", "urban", "stratum", "psu", "sex", "age_group", "d", "satisfied", "score")
sample <- sample[, keep]
write.csv(population, "raking_margins.csv", row.names = FALSE, quote = FALSE)

margins <- ~ district_id * sex + district_id * urban + age_group
totals <- colSums(model.matrix(margins, population) * population$persons)
design <- svydesign(ids = ~psu, strata = ~stratum, weights = ~d, data = sample)
raked <- calibrate(design, margins, totals, calfun = "raking", epsilon = 1e-14, maxit = 200)
write.csv(cbind(sample, raked = weights(raked)), "raking_sample.csv", row.names = FALSE, quote = FALSE, na = "")

rows <- list()
add <- function(level, unit_id, domain, member) {
  for (indicator in c("satisfied", "score")) {
    part <- subset(raked, member)
    found <- svymean(reformulate(indicator), part, na.rm = TRUE, deff = "replace")
    total <- svytotal(reformulate(indicator), part, na.rm = TRUE)
    answered <- subset(part, !is.na(part$variables[[indicator]]))
    rows[[length(rows) + 1]] <<- data.frame(
      indicator = indicator, level = level, unit_id = unit_id, domain = domain,
      estimate = as.numeric(coef(found)), se = as.numeric(SE(found)), deff = as.numeric(deff(found)),
      total = as.numeric(coef(total)), total_se = as.numeric(SE(total)), df = degf(answered)
    )
  }
}
everybody <- rep(TRUE, nrow(sample))
units <- c(list(list("all", "all", everybody)),
  lapply(c("kp", "punjab"), function(unit) list("province", unit, sample$province_id == unit)),
  lapply(districts, function(unit) list("district", unit, sample$district_id == unit)))
for (unit in units) {
  add(unit[[1]], unit[[2]], "all", unit[[3]])
  for (sex in c("female", "male")) add(unit[[1]], unit[[2]], paste0("sex=", sex), unit[[3]] & sample$sex == sex)
  for (area in c("urban", "rural")) add(unit[[1]], unit[[2]], paste0("urban=", area), unit[[3]] & sample$urban == area)
}
add("all", "all", "age_group=65+", sample$age_group == "65+")
write.csv(do.call(rbind, rows), "raking_estimates.csv", row.names = FALSE, quote = FALSE)
