"""Judges bills of materials by others' validators: CycloneDX's own library and the SPDX project's. Prints what is wrong; exit code 1 then.
    judge.py FILE...: *.cdx.json or *.spdx.json"""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def cyclonedx(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if wrong is not None:
        yield str(wrong)
    references = [part["bom-ref"] for part in json.loads(text)["components"]]
    if len(set(references)) != len(references):
        yield "two components have one bom-ref"
    for part in json.loads(text)["components"]:
        url = PackageURL.from_string(part["purl"])
        if (url.name, url.version) != (part["name"], part["version"]):
            yield f"{part['purl']} is not of {part['name']} {part['version']}"


def spdx(path):
    for message in validate_full_spdx_document(parse_file(path)):
        yield message.validation_message


def faults(path):
    try:
        yield from (spdx if path.endswith(".spdx.json") else cyclonedx)(path)
    except Exception as error:
        yield f"it cannot be read: {error!r}"


def main():
    wrong = [f"{path}: {text}" for path in sys.argv[1:] for text in faults(path)]
    print("\n".join(wrong) if wrong else f"{len(sys.argv) - 1} documents are valid")
    return 1 if wrong else 0


sys.exit(main())
