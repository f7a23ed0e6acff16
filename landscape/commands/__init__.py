"""The subcommands: options in, one call into the package, results out."""
