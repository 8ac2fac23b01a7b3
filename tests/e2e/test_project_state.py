"""`sealgate project set` on a running stack."""

from __future__ import annotations

from tests.e2e.stack_process import StackProcess, ask


def test_project_is_suspended_and_served_again_by_a_command(shared_stack: StackProcess) -> None:
    """In force with the next request, and said in the list."""
    made = shared_stack.command("project", "create", "--name", "Shop")
    project_id, key = (line.split()[1] for line in made.stdout.splitlines()[:2])

    def answered() -> tuple[int, str | None]:
        answer = ask("GET", f"{shared_stack.base_url}/api/v1/project", headers={"X-PROJECT-API-KEY": key})
        return answer.status_code, answer.json().get("error", {}).get("code")

    assert answered() == (200, None)
    done = shared_stack.command(
        "project", "set", project_id, "--status", "SUSPENDED", "--modules", "wallet,browser"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"project_id  {project_id}",
        "status      SUSPENDED",
        "modules     wallet,browser",
        "without     trading,signing",
    ]
    assert answered() == (403, "TENANT_SUSPENDED")
    listed = shared_stack.command("project", "list").stdout.splitlines()
    assert f"{project_id}  SUSPENDED  {'wallet,browser':<30}  Shop" in listed
    assert shared_stack.command("project", "set", project_id, "--status", "ACTIVE").returncode == 0
    assert answered() == (200, None)


def test_project_set_says_what_is_wrong(shared_stack: StackProcess) -> None:
    """In one line, with the option as people write it."""
    unknown = shared_stack.command(
        "project", "set", "01890a5d-ac96-774b-bcce-b302099a8057", "--status", "ACTIVE"
    )
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("sealgate: PROJECT_NOT_FOUND: ")
    made = shared_stack.command("project", "create", "--name", "Kiosk")
    project_id = made.stdout.split()[1]
    bad = shared_stack.command("project", "set", project_id, "--modules", "wallet,casino")
    assert bad.returncode == 2
    assert "Invalid value for '--modules': 'casino' is no module" in bad.stderr
