# Step 2 of the reference numbers for the driver models in tests/test_real_waves.py; step 1 is real_drivers.py.
# Run in the root of the repository: Rscript tests/golden/real_drivers.R FOLDER
# Writes tests/golden/real_driver_effects.csv: average marginal effects of svyglm with delta-method errors, each category
# against the first.
suppressMessages(library(survey))
options(digits = 15, survey.lonely.psu = "fail")
folder <- commandArgs(trailingOnly = TRUE)[1]
positive <- list(
  "mics-punjab-2018" = c("safe", "very_safe"), "mics-punjab-2014" = c("somewhat_satisfied", "very_satisfied")
)
unknown <- c("dont_know", "refused", "not_asked", "missing")

tables <- lapply(names(positive), function(wave) {
  frame <- read.csv(file.path(folder, paste0(wave, ".csv")), na.strings = "", stringsAsFactors = TRUE)
  predictors <- setdiff(names(frame), c("variance_stratum", "psu", "weight", "answer"))
  frame$good <- as.numeric(frame$answer %in% positive[[wave]])
  known <- !(frame$answer %in% unknown | is.na(frame$answer)) & complete.cases(frame[predictors])
  part <- subset(svydesign(ids = ~psu, strata = ~variance_stratum, weights = ~weight, data = frame), known)
  part$variables <- droplevels(part$variables)
  fit <- svyglm(reformulate(predictors, "good"), part, family = quasibinomial(),
                control = glm.control(epsilon = 1e-15, maxit = 100))
  params <- coef(fit)
  covariance <- vcov(fit)
  share <- weights(part) / sum(weights(part))
  effect <- function(p, name, level) {
    there <- base <- part$variables
    there[[name]][] <- level
    base[[name]][] <- levels(base[[name]])[1]
    chance <- function(data) plogis(drop(model.matrix(reformulate(predictors), data) %*% p))
    sum(share * (chance(there) - chance(base)))
  }
  do.call(rbind, lapply(predictors, function(name) {
    do.call(rbind, lapply(levels(part$variables[[name]])[-1], function(level) {
      gradient <- sapply(seq_along(params), function(i) {
        step <- replace(numeric(length(params)), i, 1e-5)
        (effect(params + step, name, level) - effect(params - step, name, level)) / 2e-5
      })
      data.frame(wave = wave, driver = name, term = sub("^[0-9]+:", "", level), n = nrow(part$variables),
                 effect = effect(params, name, level), se = sqrt(drop(gradient %*% covariance %*% gradient)))
    }))
  }))
})
table <- do.call(rbind, tables)
for (name in c("effect", "se")) table[[name]] <- sprintf("%.15g", table[[name]])
write.csv(table, "tests/golden/real_driver_effects.csv", row.names = FALSE, quote = FALSE)
