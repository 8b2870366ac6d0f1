// Prints compose files as Docker Compose merges them: `docker compose config --format json` without Docker.
//
// With -plain, variables and paths stay as they stand in the files, and nothing is added that they do not say.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	plain := flag.Bool("plain", false, "leave variables, paths and what is not said as they stand")
	flag.Parse()
	merged, err := read(context.Background(), flag.Args(), *plain)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(merged)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(ctx context.Context, files []string, plain bool) (any, error) {
	options, err := cli.NewProjectOptions(files,
		cli.WithOsEnv,
		cli.WithProfiles([]string{"*"}),
		cli.WithInterpolation(!plain),
		cli.WithResolvedPaths(!plain),
		cli.WithNormalization(!plain),
	)
	if err != nil {
		return nil, err
	}
	// The model is what the files say; a project is what Compose would run, with all that it checks.
	if plain {
		return options.LoadModel(ctx)
	}
	return options.LoadProject(ctx)
}
