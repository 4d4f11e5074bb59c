"""What goes with satisfaction: survey-weighted models and the effects read from them. No ranking, no publishing."""
