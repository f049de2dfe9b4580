"""Checks that the preflight looks for the Secrets that pods read, and shows nothing that is in them."""

from submissions import SWEEP, TRAIN, VARIANTS, rendered

from k8s.preflight.preflight import find_problems


def told(objects, cluster):
    return [f"{problem.severity}: {problem.text}" for problem in find_problems(objects, cluster)]


def test_a_secret_that_the_pods_would_wait_for_is_told_with_the_command_that_makes_it(server, cluster):
    objects = rendered(*VARIANTS["prep with a Secret"])
    (problem,) = told(objects, cluster)
    assert problem.startswith("error: --salt_secret site-salt: there is no such Secret in namespace team; make it: ")
    assert "kubectl create secret generic site-salt --namespace team --from-file=salt=FILE" in problem
    server.objects.add("secrets", {"metadata": {"name": "site-salt"}, "data": {"pepper": "c2VjcmV0"}})
    (problem,) = told(objects, cluster)
    assert problem.startswith("error: --salt_secret site-salt: expected a key salt, found pepper; make the Secret anew")
    assert "c2VjcmV0" not in problem
    server.objects.delete("secrets", "site-salt")
    server.objects.add("secrets", {"metadata": {"name": "site-salt"}, "data": {"salt": "c2VjcmV0"}})
    assert told(objects, cluster) == []
    server.forbidden.add(("get", "secrets"))
    (problem,) = told(objects, cluster)
    assert problem.startswith("warning: --salt_secret site-salt: can't get secrets site-salt in namespace team")


def test_the_address_of_a_tracking_server_is_looked_for_too(server, cluster):
    problems = told(rendered("train", *TRAIN, "--track", "mlflow", "--track_secret", "lab"), cluster)
    assert any("error: --track_secret lab: there is no such Secret" in problem for problem in problems)


def test_the_token_of_a_sweep_is_looked_for_too(server, cluster):
    problems = told(rendered("sweep", *SWEEP, "--token_secret", "sweep-token"), cluster)
    assert any(problem.startswith("error: --token_secret sweep-token: there is no such Secret") for problem in problems)
