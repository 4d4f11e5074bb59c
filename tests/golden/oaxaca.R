# Step 2 of the reference numbers for the change of a share in tests/test_change_decomposition.py; step 1 is waves.py.
# Run in the root of the repository: Rscript tests/golden/oaxaca.R FOLDER, where FOLDER holds what waves.py wrote.
# Writes tests/golden/oaxaca_parts.csv. Coefficients are svyglm's (gaussian), the threefold parts are written out from
# them with effects of categories about their mean, and standard errors are those of the JKn replicates of both samples
# stacked: of two waves (each with its own strata and PSUs), and of women and men of one wave (who share its PSUs).
suppressMessages(library(survey))
options(digits = 15, survey.lonely.psu = "fail")
folder <- commandArgs(trailingOnly = TRUE)[1]
reasons <- c("dont_know", "refused", "not_asked", "missing")

share <- function(answer, positive) ifelse(is.na(answer) | answer %in% reasons, NA, as.numeric(answer %in% positive))
score <- function(answer, scale) match(answer, scale) - 1
agree <- c("strongly_disagree", "disagree", "neither", "agree", "strongly_agree")
satisfied <- c("satisfied", "very_satisfied")
controls <- list(
  sex = c("female", "male"), age_group = c("<25", "25-34", "35-44", "45-54", "55-64", "65+"),
  education = c("none", "primary", "middle", "secondary", "higher"),
  wealth = c("lowest", "second", "middle", "fourth", "highest"), urban = c("urban", "rural")
)
health <- paste0("health_", c("access", "affordability", "facilities", "equality", "courtesy"))
no_yes <- list(discrimination = c("no", "yes"), complaint_made = c("no", "yes"))

respondents <- function(wave) {
  frame <- read.csv(file.path(folder, paste0(wave, ".csv")), na.strings = "", stringsAsFactors = FALSE)
  frame$satisfied_district <- share(frame$district_satisfaction, satisfied)
  frame$satisfied_health <- ifelse(frame$health_used %in% "yes", share(frame$health_satisfaction, satisfied), NA)
  for (name in health) frame[[name]] <- score(frame[[name]], agree)
  frame$safety_after_dark <- score(frame$safety_after_dark, c("very_unsafe", "unsafe", "safe", "very_safe"))
  frame$local_government_responds <- score(frame$local_government_responds, agree)
  categories <- c(controls, no_yes)
  for (name in names(categories)) frame[[name]] <- factor(frame[[name]], categories[[name]])
  frame
}

# Means and coefficients of the constant, the scores and all categories; coefficients of categories about their mean.
all_categories <- function(variables, data, weights, coefficients) {
  constant <- coefficients[["(Intercept)"]]
  means <- slopes <- driver <- c()
  for (variable in variables) {
    values <- data[[variable]]
    if (is.factor(values)) {
      own <- c(0, coefficients[paste0(variable, levels(values)[-1])])
      constant <- constant + mean(own)
      own <- own - mean(own)
      here <- sapply(levels(values), function(category) weighted.mean(values == category, weights))
    } else {
      own <- coefficients[[variable]]
      here <- weighted.mean(values, weights)
    }
    means <- c(means, here)
    slopes <- c(slopes, own)
    driver <- c(driver, rep(if (variable %in% names(controls)) "composition" else variable, length(own)))
  }
  list(means = c(means, 1), slopes = unname(c(slopes, constant)), driver = c(driver, "level"))
}

threefold <- function(before, after) {
  x <- after$means - before$means
  b <- after$slopes - before$slopes
  by_driver <- function(part, values) {
    sums <- tapply(values, factor(before$driver, unique(before$driver)), sum)
    sums <- c(sums, all = sum(values))
    setNames(sums, paste(part, names(sums)))
  }
  found <- c(
    by_driver("endowments", x * before$slopes), by_driver("effects", before$means * b), by_driver("interaction", x * b)
  )
  c(found, "change all" = sum(found[c("endowments all", "effects all", "interaction all")]))
}

# `stacked` has a column `after`; the PSUs of the design are those of all its rows.
decomposed <- function(case, outcome, variables, stacked, design) {
  formula <- reformulate(variables, outcome)
  complete <- complete.cases(stacked[c(outcome, variables)])
  parts <- function(weights, data) {
    side <- function(after) {
      rows <- complete & data$after == after & weights > 0
      columns <- model.matrix(formula, data[rows, ])
      w <- weights[rows]
      fit <- lm.wfit(columns, data[[outcome]][rows], w)
      all_categories(variables, data[rows, ], w, fit$coefficients)
    }
    threefold(side(FALSE), side(TRUE))
  }
  for (after in c(FALSE, TRUE)) {
    rows <- complete & stacked$after == after
    fit <- coef(svyglm(formula, subset(design, rows)))
    by_hand <- lm.wfit(model.matrix(formula, stacked[rows, ]), stacked[[outcome]][rows], weights(design)[rows])
    stopifnot(max(abs(fit - by_hand$coefficients)) < 1e-12)
  }
  replicates <- as.svrepdesign(design, type = "JKn", mse = TRUE)
  found <- withReplicates(replicates, parts)
  key <- do.call(rbind, strsplit(names(coef(found)), " "))
  table <- data.frame(
    case = case, outcome = outcome, part = key[, 1], driver = key[, 2],
    estimate = as.numeric(coef(found)), se = as.numeric(SE(found)),
    n_before = sum(complete & !stacked$after), n_after = sum(complete & stacked$after)
  )
  table[!(table$driver == "level" & table$part != "effects"), ]
}

old <- respondents("kp-2021")
new <- respondents("kp-2024")
columns <- intersect(names(old), names(new))
waves <- rbind(cbind(old[columns], after = FALSE), cbind(new[columns], after = TRUE))
waves$stratum <- paste(waves$after, waves$variance_stratum)
waves$place <- paste(waves$after, waves$psu)
of_waves <- svydesign(ids = ~place, strata = ~stratum, weights = ~weight, data = waves)
sexes <- cbind(new, after = new$sex == "male")
of_sexes <- svydesign(ids = ~psu, strata = ~variance_stratum, weights = ~weight, data = sexes)

district <- c("safety_after_dark", "local_government_responds", names(no_yes))
table <- rbind(
  decomposed("waves", "satisfied_health", c(health, names(controls)), waves, of_waves),
  decomposed("waves", "satisfied_district", c(district, names(controls)), waves, of_waves),
  decomposed("sexes", "satisfied_district", c(district, setdiff(names(controls), "sex")), sexes, of_sexes)
)
for (name in c("estimate", "se")) table[[name]] <- sprintf("%.15g", table[[name]])
write.csv(table, "tests/golden/oaxaca_parts.csv", row.names = FALSE, quote = FALSE)
