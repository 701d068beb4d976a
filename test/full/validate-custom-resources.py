"""Checks Kubernetes resources on standard input against the schemas in a folder of CustomResourceDefinitions; unknown fields are mistakes."""
import pathlib, sys

import jsonschema, yaml


def strict(schema):
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields") and isinstance(schema["properties"], dict):
            schema.setdefault("additionalProperties", False)
    elif isinstance(schema, list):
        schema = [strict(item) for item in schema]
    return schema


schemas = {}
for path in pathlib.Path(sys.argv[1]).glob("*.yaml"):
    spec = yaml.safe_load(path.read_text())["spec"]
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        # Names and labels are checked by Kubernetes itself.
        schema["properties"]["metadata"] = {"type": "object", "required": ["name"], "x-kubernetes-preserve-unknown-fields": True}
        schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = strict(schema)

failed = False
for resource in filter(None, yaml.safe_load_all(sys.stdin)):
    schema = schemas.get((resource["apiVersion"], resource["kind"]))
    if schema is None:
        continue
    errors = [f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(resource)]
    failed = failed or bool(errors)
    print(resource["kind"], resource["metadata"]["name"], "; ".join(errors) or "ok")
sys.exit(1 if failed else 0)
