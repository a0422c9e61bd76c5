"""The follower as sans-IO machines over the values of the model."""
