"""Goes through OpenFaaS's Python SDK: check.py GATEWAY PASSWORD IMAGE. IMAGE answers with $WHO."""
import sys

from openfaas_sdk import (BasicAuth, Client, FunctionDeployment, FunctionNamespace,
                          FunctionResources, Secret)
from openfaas_sdk.exceptions import NotFoundError, UnauthorizedError


def refused(error, call, *args):
    try:
        call(*args)
    except error:
        return
    raise AssertionError(f"{call} {args} was not refused")


def expect(what, got, want):
    assert got == want, f"{what}: {got!r}, not {want!r}"


gateway, password, image = sys.argv[1:]
with Client(gateway, auth=BasicAuth("admin", "wrong")) as stranger:
    refused(UnauthorizedError, stranger.get_namespaces)

with Client(gateway, auth=BasicAuth("admin", password)) as client:
    expect("provider", client.get_info().provider.provider, "hob")

    expect("create", client.create_namespace(FunctionNamespace(name="py")), 201)
    expect("namespaces", client.get_namespaces(), ["openfaas-fn", "py"])
    spec = FunctionNamespace(name="py", labels={"a": "b"})
    expect("update", client.update_namespace(spec), 202)
    expect("label", client.get_namespace("py").labels["a"], "b")
    refused(NotFoundError, client.get_namespace, "nowhere")

    secret = Secret(name="key", namespace="py", value="one")
    expect("create secret", client.create_secret(secret), 202)
    expect("update secret", client.update_secret(secret), 202)
    expect("secrets", [one.name for one in client.get_secrets("py")], ["key"])

    spec = FunctionDeployment(
        service="hello", image=image, namespace="py", env_vars={"WHO": "Mina"},
        secrets=["key"], limits=FunctionResources(memory="40Mi", cpu="100m"))
    refused(NotFoundError, client.update, spec)
    expect("deploy", client.deploy(spec), 202)
    one = client.get_function("hello", "py")
    expect("image", one.image, image)
    expect("env", one.env_vars, {"WHO": "Mina"})
    expect("limits", one.limits, spec.limits)
    expect("replicas", one.available_replicas, 1)
    expect("says", client.invoke_function("hello", "py", method="POST", payload=b"x").text, "Mina")
    spec.env_vars["WHO"] = "Lucy"
    expect("update", client.update(spec), 202)
    expect("says", client.invoke_function("hello", "py", method="POST", payload=b"x").text, "Lucy")
    client.scale_function("hello", 0, "py")
    expect("replicas at zero", client.get_function("hello", "py").replicas, 0)
    expect("functions", [one.name for one in client.get_functions("py")], ["hello"])
    client.delete_function("hello", "py")
    refused(NotFoundError, client.get_function, "hello", "py")
    client.delete_secret("key", "py")
    client.delete_namespace("py")
print("done")
