import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';

const folder = process.env['NEARFAR_DEPLOY_TOOLS'];
if (folder) process.env['PATH'] = `${join(folder, 'bin')}${delimiter}${process.env['PATH']}`;

/** Whether a program is installed; says once that what needs it is skipped where it is not. @param probe Arguments with which it ends at once. */
export function hasTool(name: string, probe: readonly string[] = ['--version']): boolean {
  const isThere = spawnSync(name, probe, { stdio: 'ignore' }).status === 0;
  if (!isThere) console.warn(`skipped: what ${name} would check, it is not installed (test/full/install-deploy-tools.sh, docs/deploy)`);
  return isThere;
}
