"""The stages of a run: one module each, with its tasks, what it makes and the version of its code.

A stage is a module with three names:

``STAGE``
    Name of the stage: the command that runs up to it, and the part of its tasks' names before the slash.
``VERSION``
    Version of its code, part of the key of its tasks.
``tasks(config, folder, ranks=None)``
    List of `universality.pipeline.task.Task`, one for each unit of work that can be done, skipped and resumed alone.
    A task has a name (``collect/A``), the settings that decide its outcome (JSON values), the names of the tasks whose
    files it reads, and a function that does the work and returns the files that it wrote.

To add a stage:

1. Write ``stages/<verb>_<noun>.py`` with these three names; ``build_families.py`` is a short example.
2. Put it into ``STAGE_MODULES`` of `universality.pipeline.runner`, behind the stages that it reads from. `run`,
   skipping, resuming, provenance and ``info`` need no more; a command is three lines in `universality.cli`.
3. Give its files paths in `universality.pipeline.paths`, and add it to the tasks that the report comes after, in
   ``write_report.py``, if the report shows it.
4. Test it in ``tests/pipeline/stages/``, and record what it makes as ``tests/report/test_stage_versions.py`` says.

Settings and what a task comes after make its key, together with the hashes of the files of the earlier tasks: a task
runs again when one of them changes, and not otherwise. So settings hold what changes the outcome and nothing else:
progress bars, checkpoints and the folder's name stay out, hashes of files from elsewhere go in
(`universality.pipeline.input_hashes`). A task names the folder's files by `RunFolder` and reads no file of a task that
it does not come after.

Raise ``VERSION`` by one whenever the stage makes other bytes of the same inputs: after an upgrade, `run` then repeats
the stages that the upgrade changes and no others. ``tests/report/test_stage_versions.py`` fails where that was
forgotten. Stamps that record no version were written before there were versions, and count as version 1.

Stages load torch, matplotlib and TransformerLens inside their functions, so that a command that finds everything done
ends at once. ``run_controls`` and ``train_crosscoder`` have the same three names and commands of their own; they
follow a finished matching and are no part of `run`. The other modules here are shared by several stages.
"""
