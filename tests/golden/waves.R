# Step 2 of the reference numbers for tests/test_wave_golden.py, with R's survey package; step 1 is waves.py.
# Run in the root of the repository: Rscript tests/golden/waves.R FOLDER, where FOLDER holds what waves.py wrote.
# Writes tests/golden/wave_estimates.csv: estimate, se, deff (replace), df, n, and for shares the intervals of svyciprop.
# The index of services is a function of totals, its se from svycontrast (delta method) on their covariance.
suppressMessages(library(survey))
options(digits = 15, survey.lonely.psu = "fail")
folder <- commandArgs(trailingOnly = TRUE)[1]
reasons <- c("dont_know", "refused", "not_asked", "missing")

share <- function(answer, positive) ifelse(is.na(answer) | answer %in% reasons, NA, as.numeric(answer %in% positive))
only <- function(values, member) ifelse(member, values, NA)

# Weights of the index of services, as the instrument declares them; they sum to 5.
index <- c(
  health = 1, primary_school = 0.5, secondary_school = 0.5, water = 1, electricity = 1, waste = 0.5, identity = 0.5
)

rows <- list()
for (wave in c("kp-2018", "punjab-2024")) {
  frame <- read.csv(file.path(folder, paste0(wave, ".csv")), na.strings = "", stringsAsFactors = FALSE)
  satisfied <- c("satisfied", "very_satisfied")
  user <- frame$health_used %in% "yes"
  frame$satisfied_district <- share(frame$district_satisfaction, satisfied)
  frame$satisfied_health <- only(share(frame$health_satisfaction, satisfied), user)
  frame$safe_after_dark <- share(frame$safety_after_dark, c("safe", "very_safe"))
  indicators <- c("satisfied_district", "satisfied_health", "safe_after_dark")
  if (!is.null(frame$health_wait)) {
    frame$wait_health <- only(frame$health_wait, user)
    indicators <- c(indicators, "wait_health")
  }
  design <- svydesign(ids = ~psu, strata = ~variance_stratum, weights = ~weight, data = frame)
  add <- function(indicator, level, unit_id, domain, member) {
    part <- subset(design, member %in% TRUE & !is.na(frame[[indicator]]))
    y <- part$variables[[indicator]]
    if (length(y) == 0) return()
    formula <- reformulate(indicator)
    found <- svymean(formula, part, deff = "replace")
    df <- degf(part)
    row <- data.frame(
      wave = wave, indicator = indicator, level = level, unit_id = unit_id, domain = domain, n = length(y), df = df,
      estimate = as.numeric(coef(found)), se = as.numeric(SE(found)), deff = as.numeric(deff(found)),
      logit_low = NA, logit_high = NA, beta_low = NA, beta_high = NA
    )
    if (indicator != "wait_health" && df >= 1 && length(unique(y)) == 2) {
      for (method in c("logit", "beta")) {
        ends <- confint(svyciprop(formula, part, method = method, df = df))
        row[[paste0(method, "_low")]] <- ends[1]
        row[[paste0(method, "_high")]] <- ends[2]
      }
    }
    rows[[length(rows) + 1]] <<- row
  }
  for (service in names(index)) {
    answer <- only(share(frame[[paste0(service, "_satisfaction")]], satisfied), frame[[paste0(service, "_used")]] %in% "yes")
    frame[[paste0("x_", service)]] <- as.numeric(!is.na(answer))
    frame[[paste0("y_", service)]] <- ifelse(is.na(answer), 0, answer)
  }
  with_services <- svydesign(ids = ~psu, strata = ~variance_stratum, weights = ~weight, data = frame)
  add_index <- function(level, unit_id, domain, member) {
    part <- subset(with_services, member %in% TRUE)
    answered <- lapply(names(index), function(service) part$variables[[paste0("x_", service)]] == 1)
    n <- min(sapply(answered, sum))
    if (n == 0) return()
    totals <- svytotal(reformulate(c(paste0("x_", names(index)), paste0("y_", names(index)))), part)
    terms <- paste0(index / sum(index), " * y_", names(index), " / x_", names(index))
    found <- svycontrast(totals, parse(text = paste(terms, collapse = " + "))[[1]])
    rows[[length(rows) + 1]] <<- data.frame(
      wave = wave, indicator = "services_index", level = level, unit_id = unit_id, domain = domain, n = n,
      df = min(sapply(answered, function(valid) degf(subset(part, valid)))),
      estimate = as.numeric(coef(found)), se = as.numeric(SE(found)), deff = NA,
      logit_low = NA, logit_high = NA, beta_low = NA, beta_high = NA
    )
  }
  for (level in c("province", "district")) {
    for (unit in sort(unique(frame[[paste0(level, "_id")]]))) {
      here <- frame[[paste0(level, "_id")]] == unit
      add_index(level, unit, "all", here)
      for (sex in c("female", "male")) add_index(level, unit, paste0("sex=", sex), here & frame$sex == sex)
    }
  }
  for (indicator in indicators) {
    for (unit in sort(unique(frame$province_id))) {
      here <- frame$province_id == unit
      add(indicator, "province", unit, "all", here)
      for (sex in c("female", "male")) {
        add(indicator, "province", unit, paste0("sex=", sex), here & frame$sex == sex)
        for (area in c("urban", "rural")) {
          domain <- paste0("sex=", sex, ",urban=", area)
          add(indicator, "province", unit, domain, here & frame$sex == sex & frame$urban == area)
        }
      }
    }
    for (unit in sort(unique(frame$district_id))) {
      here <- frame$district_id == unit
      add(indicator, "district", unit, "all", here)
      for (sex in c("female", "male")) add(indicator, "district", unit, paste0("sex=", sex), here & frame$sex == sex)
    }
  }
}
table <- do.call(rbind, rows)
numbers <- sapply(table, is.double)
table[numbers] <- lapply(table[numbers], function(x) ifelse(is.finite(x), sprintf("%.15g", x), ""))
write.csv(table, "tests/golden/wave_estimates.csv", row.names = FALSE, quote = which(names(table) == "domain"), na = "")
