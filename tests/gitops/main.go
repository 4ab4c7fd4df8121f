// Command judge says how GitOps tools see objects: kstatus, and the copy of it that Flux's `wait` uses; Flux's own reader
// of `healthCheckExprs`; and Argo CD's health scripts, run by the Lua interpreter that Argo CD uses, in the same bounds.
//
// With the word `yaml` it turns YAML into JSON. With `drift KUBECONFIG` it reads {"apply": bool, "objects": [...]}, applies
// them as Flux's kustomize-controller does where it is asked to, and writes what its next dry run would change. Otherwise it reads {"objects": [...], "exprs": [Flux's healthCheckExprs], "lua": {"Kind": "script"}} and writes one verdict an object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	fluxstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	fluxcel "github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	if len(os.Args) == 3 && os.Args[1] == "drift" {
		return drift(os.Args[2])
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

// drift asks Flux's own server-side dry run of each object for a difference.
func drift(kubeconfig string) error {
	var in struct {
		Apply   bool              `json:"apply"`
		Objects []json.RawMessage `json:"objects"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cluster, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	owner := ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"}
	manager := ssa.NewResourceManager(cluster, nil, owner)
	objects := []*unstructured.Unstructured{}
	for _, raw := range in.Objects {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		objects = append(objects, object)
	}
	bound, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if in.Apply {
		if _, err := manager.ApplyAll(bound, objects, ssa.DefaultApplyOptions()); err != nil {
			return err
		}
	}
	type difference struct {
		Object string `json:"object"`
		Action string `json:"action"`
		Live   any    `json:"live,omitempty"`
		Merged any    `json:"merged,omitempty"`
	}
	differences := []difference{}
	for _, object := range objects {
		entry, live, merged, err := manager.Diff(bound, object, ssa.DefaultDiffOptions())
		if err != nil {
			return err
		}
		if entry.Action == ssa.UnchangedAction {
			continue
		}
		found := difference{Object: entry.Subject, Action: string(entry.Action)}
		if live != nil && merged != nil {
			found.Live, found.Merged = live.Object, merged.Object
		}
		differences = append(differences, found)
	}
	return json.NewEncoder(os.Stdout).Encode(differences)
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
	inFlux, err := fluxstatus.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	judged := verdict{Kstatus: result.Status.String(), Message: result.Message}
	if inFlux.Status.String() != judged.Kstatus {
		return verdict{}, fmt.Errorf("kstatus says %s, and Flux's copy of it %s", judged.Kstatus, inFlux.Status)
	}
	newReader, err := fluxcel.NewStatusReader(in.Exprs)
	if err != nil {
		return verdict{}, err
	}
	// Only other resources that an object made would need a mapper and a cluster.
	if reader := newReader(nil); reader.Supports(object.GroupVersionKind().GroupKind()) {
		read, err := reader.ReadStatusForObject(context.Background(), nil, object)
		if err != nil {
			return verdict{}, err
		}
		judged.Flux = read.Status.String()
	}
	if script, there := in.Lua[object.GetKind()]; there {
		judged.Argo, judged.Words, err = health(script, object)
	}
	return judged, err
}

// The words that Argo CD takes from a script; for any other it shows Unknown.
var healths = map[string]bool{"Healthy": true, "Progressing": true, "Suspended": true, "Degraded": true, "Missing": true, "Unknown": true}

// health runs a script as Argo CD does: no library of strings, one second, the object as the global `obj`, a table with
// status and message back.
func health(script string, object *unstructured.Unstructured) (string, string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable},
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(library.open), Protect: true}, lua.LString(library.name)); err != nil {
			return "", "", err
		}
	}
	bound, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(bound)
	state.SetGlobal("obj", value(state, object.Object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script gives no table")
	}
	word := lua.LVAsString(table.RawGetString("status"))
	if !healths[word] {
		return "", "", fmt.Errorf("the script gives the status %q, which Argo CD does not know", word)
	}
	return word, lua.LVAsString(table.RawGetString("message")), nil
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
