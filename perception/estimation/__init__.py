"""From responses to design-based estimates, rankings and the decision what may be published."""
