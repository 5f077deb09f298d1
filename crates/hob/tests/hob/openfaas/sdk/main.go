// Goes through OpenFaaS's Go SDK: gosdk GATEWAY PASSWORD IMAGE. IMAGE answers with $WHO.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"

	"github.com/openfaas/faas-provider/types"
	sdk "github.com/openfaas/go-sdk"
)

func check(err error) {
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
}

func expect(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		check(fmt.Errorf("%s: %v, not %v", what, got, want))
	}
}

func main() {
	gateway, err := url.Parse(os.Args[1])
	check(err)
	auth := &sdk.BasicAuth{Username: "admin", Password: os.Args[2]}
	client := sdk.NewClient(gateway, auth, http.DefaultClient)
	ctx := context.Background()

	wrong := sdk.NewClient(gateway, &sdk.BasicAuth{Username: "admin", Password: "x"}, http.DefaultClient)
	_, err = wrong.GetNamespaces(ctx)
	expect("a wrong password", errors.Is(err, sdk.ErrUnauthorized), true)
	info, err := client.GetInfo(ctx)
	check(err)
	expect("provider", info.Provider.Provider, "hob")

	namespaces(ctx, client)
	secrets(ctx, client)
	functions(ctx, client, os.Args[3])
	fmt.Println("done")
}

func namespaces(ctx context.Context, client *sdk.Client) {
	status, err := client.CreateNamespace(ctx, types.FunctionNamespace{Name: "go"})
	check(err)
	expect("create namespace", status, 201)
	all, err := client.GetNamespaces(ctx)
	check(err)
	expect("namespaces", all, []string{"go", "openfaas-fn"})
	labels := map[string]string{"a": "b"}
	status, err = client.UpdateNamespace(ctx, types.FunctionNamespace{Name: "go", Labels: labels})
	check(err)
	expect("update namespace", status, 202)
	one, err := client.GetNamespace(ctx, "go")
	check(err)
	expect("label", one.Labels["a"], "b")
	_, err = client.GetNamespace(ctx, "nowhere")
	expect("no namespace", errors.Is(err, sdk.ErrNotFound), true)
}

func secrets(ctx context.Context, client *sdk.Client) {
	secret := types.Secret{Name: "key", Namespace: "go", Value: "one"}
	status, err := client.CreateSecret(ctx, secret)
	check(err)
	expect("create secret", status, 202)
	secret.RawValue = []byte("two\n")
	status, err = client.UpdateSecret(ctx, secret)
	check(err)
	expect("update secret", status, 202)
	all, err := client.GetSecrets(ctx, "go")
	check(err)
	expect("secrets", len(all), 1)
	_, err = client.UpdateSecret(ctx, types.Secret{Name: "none", Namespace: "go", Value: "x"})
	expect("no secret", errors.Is(err, sdk.ErrNotFound), true)
}

func functions(ctx context.Context, client *sdk.Client, image string) {
	spec := types.FunctionDeployment{
		Service: "hello", Image: image, Namespace: "go",
		EnvVars: map[string]string{"WHO": "Mina"}, Secrets: []string{"key"},
		Limits: &types.FunctionResources{Memory: "40Mi", CPU: "100m"},
	}
	status, err := client.Update(ctx, spec)
	expect("update of none", []any{status, err != nil}, []any{404, true})
	status, err = client.Deploy(ctx, spec)
	check(err)
	expect("deploy", status, 202)
	one, err := client.GetFunction(ctx, "hello", "go")
	check(err)
	expect("image", one.Image, image)
	expect("env", one.EnvVars, spec.EnvVars)
	expect("limits", one.Limits, spec.Limits)
	expect("requests", one.Requests == nil, true)
	expect("replicas", one.AvailableReplicas, uint64(1))
	expect("annotations", len(*one.Annotations), 0)
	expect("says", invoke(client), "Mina")

	spec.EnvVars["WHO"] = "Lucy"
	status, err = client.Update(ctx, spec)
	check(err)
	expect("update", status, 202)
	expect("says", invoke(client), "Lucy")
	check(client.ScaleFunction(ctx, "hello", "go", 0))
	one, err = client.GetFunction(ctx, "hello", "go")
	check(err)
	expect("replicas at zero", one.Replicas, uint64(0))
	all, err := client.GetFunctions(ctx, "go")
	check(err)
	expect("functions", len(all), 1)
	expect("label", (*all[0].Labels)["faas_function"], "hello")
	check(client.DeleteFunction(ctx, "hello", "go"))
	_, err = client.GetFunction(ctx, "hello", "go")
	expect("no function", errors.Is(err, sdk.ErrNotFound), true)
	check(client.DeleteSecret(ctx, "key", "go"))
	check(client.DeleteNamespace(ctx, "go"))
}

func invoke(client *sdk.Client) string {
	request, err := http.NewRequest(http.MethodPost, "/", bytes.NewReader([]byte("x")))
	check(err)
	answer, err := client.InvokeFunction("hello", "go", false, false, request)
	check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	check(err)
	return string(text)
}
