"""The commands of `metric-streams`: thin, options in, output out."""
