# Step 2 of the reference numbers for tests/test_driver_golden.py, with R's survey package; step 1 is drivers.py.
# Run in the root of the repository: Rscript tests/golden/drivers.R FOLDER, where FOLDER holds what drivers.py wrote.
# Writes tests/golden/driver_estimates.csv: average marginal effects on the share satisfied, by svyolr (the whole scale)
# and by svyglm (satisfied or not), with delta-method errors: of one more step of a score, and of each category against
# the first.
suppressMessages(library(survey))
options(digits = 15, survey.lonely.psu = "fail")
folder <- commandArgs(trailingOnly = TRUE)[1]
frame <- read.csv(file.path(folder, "kp-2024.csv"), na.strings = "", stringsAsFactors = TRUE)
scores <- c("health_access", "health_affordability", "health_facilities", "health_equality", "health_courtesy")
categories <- c("sex", "age_group", "education", "wealth", "urban")
for (name in scores) frame[[name]] <- as.numeric(sub(":.*", "", frame[[name]]))
frame$good <- as.numeric(grepl(":(very_)?satisfied$", frame$health_satisfaction))
design <- svydesign(ids = ~psu, strata = ~variance_stratum, weights = ~weight, data = frame)
known <- frame$used %in% "yes" & complete.cases(frame[c("health_satisfaction", scores, categories)])
part <- subset(design, known)
part$variables <- droplevels(part$variables)
part$variables$answer <- factor(part$variables$health_satisfaction, ordered = TRUE)
right <- c(scores, categories)

# optim stops where the likelihood is flat to the eye; Newton's steps on its gradient go on from there.
rough <- svyolr(reformulate(right, "answer"), part)
rows <- model.matrix(reformulate(right), part$variables)[, -1]
answer <- as.integer(part$variables$answer)
slopes <- ncol(rows)
gradient <- function(p) {
  ends <- c(-Inf, p[-seq_len(slopes)], Inf)
  eta <- drop(rows %*% p[seq_len(slopes)])
  above <- ends[answer + 1] - eta
  below <- ends[answer] - eta
  ratio <- weights(part) / (plogis(above) - plogis(below))
  by_above <- ratio * dlogis(above)
  by_below <- ratio * dlogis(below)
  c(-colSums(rows * (by_above - by_below)),
    sapply(seq_len(length(ends) - 2), function(j) sum(by_above[answer == j]) - sum(by_below[answer == j + 1])))
}
params <- c(rough$coefficients, rough$zeta)
for (step in 1:6) {
  jacobian <- sapply(seq_along(params), function(i) {
    move <- replace(numeric(length(params)), i, 1e-5)
    (gradient(params + move) - gradient(params - move)) / 2e-5
  })
  params <- params - solve(jacobian, gradient(params))
}
stopifnot(max(abs(gradient(params))) < 1e-6 * sum(weights(part)))
zeta <- params[-seq_len(slopes)]
ordered <- svyolr(reformulate(right, "answer"), part, start = c(params[seq_len(slopes)], zeta[1], log(diff(zeta))),
                  control = list(maxit = 0, ndeps = rep(1e-4, length(params))))
logit <- svyglm(reformulate(right, "good"), part, family = quasibinomial(),
                control = glm.control(epsilon = 1e-15, maxit = 100))

weights <- weights(part)
matrix_of <- function(data) model.matrix(reformulate(right), data)
effects <- function(chance, params, covariance) {
  # chance(params, rows) is the probability of a good answer.
  value <- function(p, term) {
    data <- part$variables
    if (term$score) {
      step <- 1e-5
      up <- down <- data
      up[[term$name]] <- up[[term$name]] + step
      down[[term$name]] <- down[[term$name]] - step
      change <- (chance(p, matrix_of(up)) - chance(p, matrix_of(down))) / (2 * step)
    } else {
      there <- base <- data
      there[[term$name]][] <- term$level
      base[[term$name]][] <- levels(data[[term$name]])[1]
      change <- chance(p, matrix_of(there)) - chance(p, matrix_of(base))
    }
    sum(weights * change) / sum(weights)
  }
  terms <- lapply(scores, function(name) list(name = name, score = TRUE, level = "per step"))
  for (name in categories) {
    terms <- c(terms, lapply(levels(part$variables[[name]])[-1], function(level) list(name = name, score = FALSE, level = level)))
  }
  do.call(rbind, lapply(terms, function(term) {
    gradient <- sapply(seq_along(params), function(i) {
      step <- replace(numeric(length(params)), i, 1e-5)
      (value(params + step, term) - value(params - step, term)) / 2e-5
    })
    data.frame(term = paste(term$name, sub("^[0-9]+:", "", term$level)), estimate = value(params, term),
               se = sqrt(drop(gradient %*% covariance %*% gradient)))
  }))
}

cut <- sum(!grepl(":(very_)?satisfied$", levels(part$variables$answer)))
of_ordered <- function(p, rows) plogis(drop(rows[, -1] %*% p[seq_len(slopes)]) - p[slopes + cut])
of_logit <- function(p, rows) plogis(drop(rows %*% p))
tables <- list(
  cbind(model = "ordered_logit", effects(of_ordered, c(ordered$coefficients, ordered$zeta), vcov(ordered))),
  cbind(model = "logit", effects(of_logit, coef(logit), vcov(logit)))
)
table <- do.call(rbind, tables)
table$n <- nrow(part$variables)
for (name in c("estimate", "se")) table[[name]] <- sprintf("%.15g", table[[name]])
write.csv(table, "tests/golden/driver_estimates.csv", row.names = FALSE, quote = FALSE)
