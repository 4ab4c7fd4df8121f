// Command differ compares objects as Argo CD does, by Argo CD's own normaliser and three-way diff (gitops-engine): an
// application whose objects differ is OutOfSync for ever.
//
// It reads [{"config": object of git, "live": object of the cluster}, ...] and writes those that differ: what Argo CD would
// show as normalised, and as predicted.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/gitops-engine/pkg/diff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type pair struct {
	Config json.RawMessage `json:"config"`
	Live   json.RawMessage `json:"live"`
}

type difference struct {
	Object     string          `json:"object"`
	Normalized json.RawMessage `json:"normalized"`
	Predicted  json.RawMessage `json:"predicted"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var pairs []pair
	if err := json.NewDecoder(os.Stdin).Decode(&pairs); err != nil {
		return err
	}
	differences := []difference{}
	for _, pair := range pairs {
		config, live := &unstructured.Unstructured{}, &unstructured.Unstructured{}
		if err := config.UnmarshalJSON(pair.Config); err != nil {
			return err
		}
		if err := live.UnmarshalJSON(pair.Live); err != nil {
			return err
		}
		result, err := diff.Diff(config, live)
		if err != nil {
			return fmt.Errorf("%s %s: %w", config.GetKind(), config.GetName(), err)
		}
		if result.Modified {
			name := fmt.Sprintf("%s/%s", config.GetKind(), config.GetName())
			differences = append(differences, difference{Object: name, Normalized: result.NormalizedLive, Predicted: result.PredictedLive})
		}
	}
	return json.NewEncoder(os.Stdout).Encode(differences)
}
