import type { Client } from 'nearfar';
import { create, element, formatBytes } from './dom.ts';

/** What this browser keeps of each version. */
export async function showCache(client: Client): Promise<void> {
  const report = await client.cache.report();
  const rows = report.versions.map(({ name, version, bytes, isComplete, digest }) =>
    create(
      'tr',
      {},
      create('td', { title: digest }, `${name} ${version}`),
      create('td', {}, formatBytes(bytes)),
      create('td', {}, isComplete ? 'complete' : 'partial'),
    ),
  );
  const quota = report.quotaBytes === undefined ? '' : `; the browser offers ${formatBytes(report.quotaBytes)}`;
  element('cache-report', HTMLDivElement).replaceChildren(
    rows.length === 0 ? create('p', {}, 'Nothing is kept yet.') : create('table', {}, create('tbody', {}, ...rows)),
    create('p', { className: 'bytes' }, `${formatBytes(report.bytes)} of at most ${formatBytes(report.budgetBytes)}${quota}`),
  );
}

/** Asking would start the device worker, which this mode goes without. */
export function showNoCache(): void {
  element('cache-report', HTMLDivElement).replaceChildren(create('p', {}, 'The server answers alone: this browser keeps nothing.'));
}

export function watchCacheButtons(client: () => Client, onProblem: (error: unknown) => void): void {
  const message = element('cache-message', HTMLParagraphElement);
  const act = (id: string, action: () => Promise<string>) =>
    element(id, HTMLButtonElement).addEventListener('click', () =>
      action().then((text) => {
        message.textContent = text;
        return showCache(client());
      }, onProblem),
    );
  act('cache-verify', async () => {
    const { chunks, corrupt } = await client().cache.verify();
    return corrupt.length === 0 ? `All ${chunks} chunks match their digests.` : `${corrupt.length} of ${chunks} chunks do not match.`;
  });
  act('cache-clear', async () => {
    await client().cache.clear();
    return 'Cleared. The next opening downloads again.';
  });
}
