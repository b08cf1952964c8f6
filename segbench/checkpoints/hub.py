"""Files of the Hugging Face Hub, through ``huggingface_hub``: its cache, its locks, its environment variables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from segbench.core.errors import MissingFault, UsageFault, first_line
from segbench.core.offline import hub_offline, hub_quiet, offline, root_cause


def cached(repository: str, files: Sequence[str]) -> Path | None:
    """Return the first of these files that is in the hub's cache; the network is not used."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name) for name in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def download(
    repository: str, files: Sequence[str], *, revision: str | None = None, command: str = "", next: str = ""
) -> Path:
    """Return the first of these files that a repository has, from the cache or the hub.

    Args:
        repository: ``ORG/NAME``.
        files: names in the repository, the preferred first.
        revision: a branch, tag or commit; None for the newest.
        command: fills the cache on a connected machine; the hub's own command by default.
        next: the command to type again.

    Raises:
        MissingFault: there is no such repository, revision or file, a licence must be accepted, or the network
            cannot be used and the file is not in the cache.
        UsageFault: it cannot be the name of a repository.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    local = bool(offline())
    with _faults(repository, revision, command=command, next=next):
        for name in files:
            try:
                with hub_offline() if local else hub_quiet():
                    return Path(hf_hub_download(repository, name, revision=revision, local_files_only=local))
            except LocalEntryNotFoundError:  # not in the cache, and the hub could not be asked
                if not local or name == files[-1]:
                    raise
            except EntryNotFoundError:
                continue
    raise MissingFault(f"The repository {repository} has none of {', '.join(files)}.", next=next)


@contextmanager
def _faults(repository: str, revision: str | None, *, command: str, next: str) -> Iterator[None]:
    """Turn the errors of ``huggingface_hub`` into faults."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise MissingFault(
            f"The repository {repository} requires a licence to be accepted at https://huggingface.co/{repository}, "
            "and HF_TOKEN set.",
            next=next,
        ) from error
    except RevisionNotFoundError as error:
        raise MissingFault(f"The repository {repository} has no revision {revision!r}.", next=next) from error
    except RepositoryNotFoundError as error:
        raise MissingFault(f"The Hugging Face Hub has no public repository {repository}.", next=next) from error
    except HFValidationError as error:
        raise UsageFault(f"{repository}: {first_line(error)}", next=next) from error
    except OSError as error:  # no answer, or the network must not be used
        switch = offline()
        reason = f"{switch} is set" if switch else f"the hub cannot be reached ({root_cause(error)})"
        own = f"hf download {repository}" + (f" --revision {revision}" if revision else "")
        advice = "" if command else "; HF_HUB_OFFLINE=1 then keeps this machine from asking"
        raise MissingFault(
            f"{repository} is not in the cache {constants.HF_HUB_CACHE} and {reason}: on a connected machine run "
            f"`{command or own}` and copy that cache here{advice}.",
            next=next,
        ) from error
