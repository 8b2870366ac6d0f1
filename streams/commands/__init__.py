"""The commands of `faust -A streams`: thin, options in, output out."""
