"""Every data set by the name of `--dataset`; a new one is a file of its own and a line here."""

from collections.abc import Sequence
from dataclasses import replace

from common.data import amass, h36m, mpi_inf_3dhp
from common.data.base import DataOptions, DataSet, Stores
from common.errors import UserError

DATA_SETS: dict[str, DataSet] = {
    data_set.name: data_set for data_set in (h36m.DATA_SET, mpi_inf_3dhp.DATA_SET, amass.DATA_SET)
}


def load_stores(data_sets: Sequence[DataSet], options: DataOptions) -> dict[str, Stores]:
    """The poses of some data sets.

    Args:
        data_sets: at least one.
        options: for all of them; the subjects are those of the first in the registry that has any,
            the others use all of theirs.

    Returns:
        Name -> stores.

    Raises:
        UserError: a file is missing or not in the format, or there is nothing at all.
    """
    with_subjects = [known for known in DATA_SETS.values() if known.has_subjects]
    chooser = next((known for known in with_subjects if known in data_sets), None)
    all_subjects = replace(options, train_subjects=None, test_subjects=None)
    stores = {}
    for data_set in data_sets:
        data_set.skeleton(options.num_joints)  # before files are read, which takes a while
        stores[data_set.name] = data_set.load(options if data_set is chooser else all_subjects)
    if not any(both.train or both.test for both in stores.values()):
        raise UserError(f"--dataset {','.join(stores)}: nothing to train on or to test on")
    return stores
