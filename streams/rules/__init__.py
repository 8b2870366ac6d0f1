"""What a message must be like. Pure: values in, values or a `streams.rules.problem.Problem` out."""
