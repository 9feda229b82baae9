"""Labels from tables: matches rows with files, and assigns splits and labels to the matched files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genmods.core.errors import UserError, nearest
from genmods.core.printable import counted
from genmods.data.folder.cells import is_missing, written
from genmods.data.folder.labels import Reader, about_separator, check_numbers, columns_of
from genmods.data.folder.layout import SPLITS, Layout, Reading
from genmods.data.folder.matching import Files
from genmods.data.folder.metadata import FILE_COLUMNS, Metadata, Row, read_metadata

_SHOWN = 3
_FEW = 20  # a text column with more classes, on average for fewer than two images each, has captions or ids


def by_tables(
    root: Path, folders: dict[str, Path], paths: dict[str, list[Path]], tables: list[Path], how: Reading
) -> Layout:
    """The layout of the files `paths` in the `folders` of splits, with the labels in `tables`.

    Raises:
        UserError: If a table cannot be read, or its columns are not those required.
    """
    rows = _Rows(root, folders, paths, how)
    read = [rows.take(path) for path in tables]
    training = [row for path, row in sorted(rows.of.items()) if rows.split[path] == "train"]
    if not training:
        first = f"{rows.problems[0]}; " if rows.problems else f"{tables[0]}: "
        raise UserError(f"{first}no row is of a training image")
    table = next(table for table in read if table.path == training[0].path)
    split_column = rows.split_column(table)
    others = _not_labels(table, split_column)
    targets = how.targets or tuple(column for column in table.columns if column not in others)
    rows.notes += _about_splits(table, targets, split_column)
    if not targets:
        raise UserError(f"{table.path}: has no column of labels; data.labels: false uses the images without labels")
    for each in {row.path for row in training}:
        known = next(other.columns for other in read if other.path == each)
        names = set(known)
        if missing := [name for name in targets if name not in names]:
            raise UserError(f"{each}: there is no column '{missing[0]}'{nearest(missing[0], known)}")
    columns = columns_of(training, targets, how.label_kind, how.separator)
    if columns.kind == "numbers":
        for path in tables:
            for name in targets:
                check_numbers([row for row in rows.of.values() if row.path == path], name)
    reader = Reader(columns, training)
    if columns.kind == "class":
        rows.notes += [f"{table.path}: {line}" for line in _about_classes(targets[0], reader.names, len(training))]
    result = Layout({}, kind=columns.kind, names=reader.names, problems=rows.problems, notes=rows.notes)
    result.columns = (table.file_column, targets[0] if len(targets) == 1 else "class" * (columns.kind == "class"))
    if columns.kind == "multilabel" and len(targets) == 1:
        result.columns += (columns.separator or "|",)
    where = ", ".join(str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in tables)
    result.tables = tuple(tables)
    result.origin = f"{where}, {columns}"
    for split in dict.fromkeys([*paths, *rows.split.values()]):
        _label(split, [path for path, name in rows.split.items() if name == split], rows.of, reader, result)
    return result


def _not_labels(table: Metadata, split_column: str | None) -> set[str]:
    """The columns of image names, row numbers and splits."""
    others = {name for name in table.columns if name.lower() in (*FILE_COLUMNS, "index")}
    return {table.file_column, *others} | ({split_column} if split_column else set())


def _about_splits(table: Metadata, targets: Sequence[str], used: str | None) -> list[str]:
    """Messages about columns that contain only names of splits, and are not used as such."""
    lines = []
    for name in table.columns:
        words = {str(row.cells[name]).lower() for row in table.rows}
        if not used and len(words) > 1 and words <= {*SPLITS}:
            what = "is read as a label" if name in targets else "is not used"
            lines.append(f"{table.path}: {name} seems to be a column of splits, but {what}; data.split_column: {name}")
    return lines


def _about_classes(column: str, names: list[str], images: int) -> list[str]:
    """Messages about the classes in a column of text that are probably something else."""
    lines = []
    if len(names) > max(_FEW, images // 2):
        lines.append(
            f"{column} has {counted(len(names), 'different value')} for {counted(images, 'image')}; "
            "data.targets selects another column, data.labels: false ignores the labels"
        )
    elif mark := about_separator(names):
        lines.append(f"{column} seems to have several labels; data.separator: '{mark}' separates them")
    lines += [f"{column} '{name}' is a class; empty cells have none" for name in names if is_missing(name)]
    return lines


def _label(split: str, files: list[Path], rows: dict[Path, Row], reader: Reader, result: Layout) -> None:
    """Adds the labelled files of a split to `result`, and a note about the others."""
    known = [path for path in files if path in rows]
    if split == "test" and all(reader.is_blank(rows[path]) for path in known):
        result.paths[split] = files
        return
    result.paths[split], result.labels[split] = [], []
    for path in known:
        try:
            result.labels[split].append(reader.read(rows[path]))
            result.paths[split].append(path)
        except UserError as error:
            result.problems.append(str(error))
    unknown = [str(path) for path in files if path not in rows]
    if unknown:
        more = ", ..." if len(unknown) > _SHOWN else ""
        result.notes.append(
            f"left out {counted(len(unknown), 'image')} without a row: {', '.join(unknown[:_SHOWN])}{more}"
        )


class _Rows:
    """The rows of tables by file (`of`), and the `split` of each file, by folder or by a column of the table."""

    def __init__(self, root: Path, folders: dict[str, Path], paths: dict[str, list[Path]], how: Reading) -> None:
        self.root, self.folders, self.how = root, folders, how
        self.split = {path: split for split, files in paths.items() for path in files}
        self.of: dict[Path, Row] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []

    def take(self, path: Path) -> Metadata:
        """Reads a table and matches its rows."""
        base = path.parent if path.parent in (self.root, *self.folders.values()) else self.root
        named = self.folders.get(SPLITS.get(path.stem.lower(), ""), base)
        files = Files([file for file in self.split if file.is_relative_to(base)], base, named)
        table = read_metadata(path, self.how.file_column, files.has)
        for row in table.rows:
            try:
                self._match(table, row, files)
            except UserError as error:
                self.problems.append(f"{row}: {error}")
        return table

    def _match(self, table: Metadata, row: Row, files: Files) -> None:
        name = row.cells[table.file_column]
        if name is None:
            raise UserError(f"has no {table.file_column}")
        if isinstance(name, dict | list | bytes):
            raise UserError(
                f"{table.file_column} must be the name of a file; the source hf_dataset reads images in tables"
            )
        path = files.find(written(name))
        if before := self.of.get(path):
            if {**before.cells, table.file_column: name} != row.cells:
                raise UserError(f"'{name}' is also in line {before.line}, with other values")
            self.notes.append(f"{row}: repeats line {before.line} and is ignored")
            return
        if column := self.split_column(table):
            split = SPLITS.get(str(row.cells[column]).lower())
            if split is None:
                raise UserError(f"{column} must be train, val or test, got '{row.cells[column] or ''}'")
            self.split[path] = split
        self.of[path] = row

    def split_column(self, table: Metadata) -> str | None:
        """The column of splits, if the table has one."""
        wanted = self.how.split_column
        if wanted is not None and wanted not in table.columns:
            raise UserError(f"{table.path}: there is no column '{wanted}'{nearest(wanted, table.columns)}")
        return wanted or next((column for column in table.columns if column.lower() == "split"), None)
