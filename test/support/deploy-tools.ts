import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';

/** Where `test/full/install-deploy-tools.sh` put programs and schemas of which Debian has no package; undefined where it did not run. */
export const deployTools: string | undefined = process.env['NEARFAR_DEPLOY_TOOLS'] || undefined;
if (deployTools !== undefined) process.env['PATH'] = `${join(deployTools, 'bin')}${delimiter}${process.env['PATH']}`;

/** Whether a program is installed; says once that what needs it is skipped where it is not. @param probe Arguments with which it ends at once. */
export function hasTool(name: string, probe: readonly string[] = ['--version']): boolean {
  const isThere = spawnSync(name, probe, { stdio: 'ignore' }).status === 0;
  if (!isThere) console.warn(`skipped: what ${name} would check, it is not installed (test/full/install-deploy-tools.sh, docs/deploy)`);
  return isThere;
}
