"""From published tables to maps, tables and pages: no respondent is read here, no estimate computed, none unhidden."""
