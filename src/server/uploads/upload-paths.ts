import * as v from 'valibot';
import { filePathSchema, NearfarError } from '../../core/index.ts';

/** Of a path inside a version, in bytes of UTF-8; of a name in it. File systems have 255 for a name. */
const longestPath = 1_024;
const longestName = 255;

/** Devices of Windows, whatever follows their name: a repository may lie on any file system, now or later. */
const reserved = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;
/** What no name may hold somewhere; control characters hide in a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const forbidden = /[\u0000-\u001f\u007f<>:"|?*\\]/;

/**
 * Checks that paths stay inside the version on every file system, and that each is one file there.
 * @throws {NearfarError} `invalid-argument` that names the first that does not.
 */
export function assertUploadPaths(paths: readonly string[]): void {
  const files = new Set<string>();
  const folders = new Set<string>();
  for (const path of paths) {
    const why = whyNot(path);
    if (why !== undefined) throw new NearfarError('invalid-argument', `${JSON.stringify(path.slice(0, 200))} is no path of a file: ${why}`);
    // File systems of Windows and macOS take these for the same.
    const folded = path.normalize('NFC').toLowerCase();
    const parents = folded.split('/').slice(0, -1);
    const above = parents.map((_, depth) => parents.slice(0, depth + 1).join('/'));
    if (files.has(folded) || folders.has(folded) || above.some((folder) => files.has(folder))) {
      throw new NearfarError('invalid-argument', `${JSON.stringify(path)} is named twice, or is a file and a folder`, {
        details: { path },
      });
    }
    files.add(folded);
    for (const folder of above) folders.add(folder);
  }
}

function whyNot(path: string): string | undefined {
  if (!v.is(filePathSchema, path)) return 'expected a relative path that stays inside the version';
  if (forbidden.test(path)) return 'it holds a character that not every file system takes';
  if (Buffer.byteLength(path) > longestPath) return `it is longer than ${longestPath} bytes`;
  for (const name of path.split('/')) {
    if (Buffer.byteLength(name) > longestName) return `a name in it is longer than ${longestName} bytes`;
    if (reserved.test(name)) return `${name} is a device on Windows`;
    if (/[. ]$/.test(name)) return 'a name in it ends with a dot or a space';
  }
  return undefined;
}

/** Whether one of the files is a model, in a format that can be served: notes and weights alone are none. */
export function hasModelFile(paths: readonly string[]): boolean {
  return paths.some((path) => /(^|\/)(manifest\.json|model\.json|saved_model\.pb(txt)?)$|\.(onnx|keras|h5|pb|pbtxt)$/.test(path));
}
