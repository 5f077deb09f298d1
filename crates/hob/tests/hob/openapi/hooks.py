"""What schemathesis does not know of hob's document."""

import json

import jsonschema_rs
import schemathesis

STREAM = "application/x-ndjson"


@schemathesis.check
def every_line_conforms(_ctx, response, case):
    """The schema of a stream is that of each of its lines."""
    documented = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    schema = documented.get("content", {}).get(STREAM, {}).get("schema")
    if schema is None:
        return
    components = case.operation.schema.raw_schema["components"]
    lines = jsonschema_rs.Draft202012Validator({**schema, "components": components})
    for line in response.content.splitlines():
        for error in lines.iter_errors(json.loads(line)):
            raise AssertionError(f"{line!r}: {error.message}")


@schemathesis.hook
def filter_case(_ctx, case):
    """Leaves out what would find nothing."""
    without_end = str((case.query or {}).get("follow")).lower() in ("1", "t", "true")
    return not (without_end or is_crowd(case.body) or has_list_for_object(case))


@schemathesis.hook
def map_body(_ctx, body):
    """Asks for fewer replicas rather than not at all: to leave out nearly all is an error."""
    return {**body, "replicas": body["replicas"] % 4} if is_crowd(body) else body


def is_crowd(body):
    """Each replica is a process."""
    return isinstance(body, dict) and body.get("replicas") in range(4, 101)


def has_list_for_object(case):
    """serde takes the list of an object's values for the object."""
    schemas = case.operation.schema.raw_schema["components"]["schemas"]

    def is_object(schema):
        target = schemas.get(schema.get("$ref", "").rpartition("/")[2], {})
        return target.get("type") == "object" or any(map(is_object, schema.get("oneOf", [])))

    objects = {
        name
        for schema in schemas.values()
        for name, value in schema.get("properties", {}).items()
        if is_object(value)
    }

    def holds_one(value):
        return isinstance(value, dict) and any(
            name in objects and isinstance(inner, list) or holds_one(inner)
            for name, inner in value.items()
        )

    return isinstance(case.body, list) or holds_one(case.body)
