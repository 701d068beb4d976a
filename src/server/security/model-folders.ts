import { realpathSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';

/** Whether a folder is one of others, or in one of them, wherever links lead. */
export function isInside(folder: string, roots: readonly string[]): boolean {
  const real = realPath(folder);
  return roots.map(realPath).some((root) => real === root || real.startsWith(root.endsWith(sep) ? root : root + sep));
}

/** Of what is not there yet, that of the folder it would be in. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const above = dirname(path);
    return above === path ? path : join(realPath(above), basename(path));
  }
}
