/** A file of a version, by its path there. */
export interface VersionFile {
  readonly path: string;
  readonly file: File;
}

/** What was picked with a dialog: one folder, or files. Hidden ones, such as `.git`, are no part of a version. */
export function filesOfInput(files: Iterable<File>): readonly VersionFile[] {
  return visible(Array.from(files, (file) => ({ path: file.webkitRelativePath.split('/').slice(1).join('/') || file.name, file })));
}

/** What was dropped: one folder, or files. */
export async function filesOfDrop({ items }: DataTransfer): Promise<readonly VersionFile[]> {
  // All at once: the list is empty after the first wait.
  const entries = Array.from(items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const [only] = entries;
  const isFolder = entries.length === 1 && only?.isDirectory === true;
  const found = await Promise.all(entries.map((entry) => walk(entry, isFolder ? undefined : '')));
  return visible(found.flat());
}

/** @param above The path of the folder that holds the entry; undefined for the folder of the version itself. */
async function walk(entry: FileSystemEntry, above: string | undefined): Promise<VersionFile[]> {
  const path = above === undefined ? '' : above + entry.name;
  if (entry.isFile) return [{ path, file: await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail)) }];
  const inside = await entriesOf(entry as FileSystemDirectoryEntry);
  return (await Promise.all(inside.map((each) => walk(each, path === '' ? '' : `${path}/`)))).flat();
}

/** A reader gives a hundred at a time. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) return all;
    all.push(...some);
  }
}

function visible(files: readonly VersionFile[]): readonly VersionFile[] {
  return files.filter(({ path }) => path.split('/').every((part) => !part.startsWith('.'))).toSorted((a, b) => (a.path < b.path ? -1 : 1));
}
