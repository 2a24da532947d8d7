#!/usr/bin/env python3
"""Holds job.schema.json against `etcd-rescue run --check`: the two must say the same about every job of a list that
is made from the schema itself (each field present, of every wrong type, misspelt, empty), and about combinations.
Most of them go through CHECK-JOBS, which has the program's reader of jobs in it: a process for each would take minutes.

usage: job_schema_test.py ETCD-RESCUE CHECK-JOBS SCHEMA
"""
import copy
import json
import os
import subprocess
import sys
import tempfile

import jsonschema

RESCUE = {"version": 1, "consent": {"luks-uuid": "78587c41-ed99-4337-8022-dc28be882f72"}}
SEAL = {"version": 1, "seal": {"to": "nv"}}
WRONG = [None, True, 7, -1, 1.5, "", "nonsense", [], [1], [""], ["nonsense"], {}, {"nonsense": 1}]
TOGETHER = [
    {}, [], 7, RESCUE, SEAL,
    {**RESCUE, "seal": {"to": "nv"}},
    {**RESCUE, "version": 2}, {"consent": RESCUE["consent"]},
    {**RESCUE, "consent": {"luks-uuid": "a", "uuid": "b"}},
    {**RESCUE, "disk": {"label": "a", "path": "/dev/vdb"}},
    {**RESCUE, "report": {"path": "x"}},
    {**RESCUE, "report": {"disk": {"label": "a"}, "path": "x"}},
    {**RESCUE, "bump-revision": (1 << 64) - 1}, {**RESCUE, "bump-revision": 1 << 64},
    {**SEAL, "disk": {"label": "a"}}, {**SEAL, "report": {"console": False}},
    {**SEAL, "secret": {"from": "tpm"}}, {**SEAL, "secret": {"from": "token"}},
    {**SEAL, "secret": {"from": "prompt"}}, {**SEAL, "strategy": "restore", "at-end": "wait"},
]


def resolve(schema, node):
    while "$ref" in node:
        target = schema
        for part in node["$ref"].lstrip("#/").split("/"):
            target = target[part]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def good_values(schema, node):
    """Values that this field may have."""
    node = resolve(schema, node)
    if "const" in node:
        return [node["const"]]
    if "enum" in node:
        return node["enum"]
    kind = node["type"]
    if kind == "object":
        return [{name: value} for name, inner in node["properties"].items() for value in good_values(schema, inner)]
    if kind == "array":
        return [good_values(schema, node["items"])]
    return {"string": ["a text"], "boolean": [True, False], "integer": [0, 7]}[kind]


def with_field(job, path, value):
    changed = copy.deepcopy(job)
    place = changed
    for name in path[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            return changed
    place[path[-1]] = value
    return changed


def jobs_around(schema, node, path, base):
    """Jobs with every good and every wrong value at and below a field."""
    node = resolve(schema, node)
    for value in good_values(schema, node) + WRONG:
        yield with_field(base, path, value)
    for name, inner in node.get("properties", {}).items():
        yield from jobs_around(schema, inner, path + [name], base)


def all_jobs(schema):
    yield from TOGETHER
    for base in (RESCUE, SEAL):
        for name, node in schema["properties"].items():
            yield from jobs_around(schema, node, [name], base)
            yield with_field(base, [name + "x"], 1)


def one_by_one(program, jobs):
    """What the program itself says: {text: (is it good, its words)}."""
    said = {}
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "job.json")
        for text in jobs:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            done = subprocess.run([program, "run", "--check", "--job", path], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode not in (0, 2):
                raise SystemExit(f"run --check ended with {done.returncode}: {text}")
            said[text] = (done.returncode == 0, done.stdout + done.stderr)
    return said


def all_at_once(checker, jobs):
    done = subprocess.run([checker], input="".join(text + "\n" for text in jobs), stdout=subprocess.PIPE, text=True, check=True)
    answers = done.stdout.splitlines()
    if len(answers) != len(jobs):
        raise SystemExit(f"{len(answers)} answers about {len(jobs)} jobs")
    return {text: (answer == "good", answer) for text, answer in zip(jobs, answers)}


def main():
    program, checker, schema_file = sys.argv[1:]
    with open(schema_file, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    jobs = {json.dumps(job, sort_keys=True): job for job in all_jobs(schema)}
    good = sum(validator.is_valid(job) for job in jobs.values())
    differ = 0
    for said in (all_at_once(checker, jobs), one_by_one(program, [json.dumps(job, sort_keys=True) for job in TOGETHER])):
        for text, (is_good, words) in said.items():
            if is_good != validator.is_valid(jobs[text]):
                differ += 1
                print(f"the schema says {'bad' if is_good else 'good'}, the program differs: {text}\n    {words}")
    print(f"{len(jobs)} jobs, {good} of them good; the schema and run --check differ on {differ}")
    if good < 40 or len(jobs) - good < 200:
        print("these are too few of one sort to prove anything")
        return 1
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
