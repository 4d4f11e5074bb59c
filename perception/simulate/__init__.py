"""The simulated survey programme: districts with known truth, a sample drawn from them and its wave folders."""
