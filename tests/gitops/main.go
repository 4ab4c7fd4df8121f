// Command judge says how GitOps tools see objects: kstatus, as Flux's `wait` and many others use it; Flux's own evaluator
// of `healthCheckExprs`; and Argo CD's health scripts, run by the Lua interpreter that Argo CD uses.
//
// With the word `yaml` it turns YAML into JSON. Otherwise it reads {"objects": [...], "exprs": [Flux's healthCheckExprs], "lua": {"Kind": "script"}} and writes one verdict an object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	fluxcel "github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

type input struct {
	Objects []json.RawMessage             `json:"objects"`
	Exprs   []kustomize.CustomHealthCheck `json:"exprs"`
	Lua     map[string]string             `json:"lua"`
}

type verdict struct {
	Kstatus string `json:"kstatus"`
	Message string `json:"message"`
	Flux    string `json:"flux,omitempty"`
	Argo    string `json:"argo,omitempty"`
	Words   string `json:"words,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) == 2 && os.Args[1] == "yaml" {
		return asJSON()
	}
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	verdicts := []verdict{}
	for _, raw := range in.Objects {
		// Integers stay integers, as in a cluster.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		judged, err := judge(object, in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		verdicts = append(verdicts, judged)
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

// asJSON turns the YAML of standard input into JSON, as the tools read it.
func asJSON() error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	converted, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(converted)
	return err
}

func judge(object *unstructured.Unstructured, in input) (verdict, error) {
	result, err := status.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	judged := verdict{Kstatus: result.Status.String(), Message: result.Message}
	for _, check := range in.Exprs {
		if check.Kind != object.GetKind() || check.APIVersion != object.GetAPIVersion() {
			continue
		}
		evaluator, err := fluxcel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return verdict{}, err
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			// As Flux's status reader has it: what cannot be evaluated (no status yet) is unknown, and is asked again.
			judged.Flux, judged.Words = status.UnknownStatus.String(), err.Error()
			continue
		}
		judged.Flux = result.Status.String()
	}
	if script, there := in.Lua[object.GetKind()]; there {
		judged.Argo, judged.Words, err = health(script, object)
	}
	return judged, err
}

// health runs a script as Argo CD does: no library but these (the one for strings is not among them), the object as the global `obj`, a table with status and message back.
func health(script string, object *unstructured.Unstructured) (string, string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(library.open), Protect: true}, lua.LString(library.name)); err != nil {
			return "", "", err
		}
	}
	state.SetGlobal("obj", value(state, object.Object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script gives no table")
	}
	return lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message")), nil
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := state.NewTable()
		for name, field := range from {
			table.RawSetString(name, value(state, field))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case string:
		return lua.LString(from)
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	default:
		return lua.LNil
	}
}
