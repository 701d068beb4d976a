import type { Phase } from 'nearfar';
import { create, element, formatBytes } from './dom.ts';

const phases: readonly Phase[] = ['download', 'verify', 'compile', 'warm-up', 'ready'];

/** Shows how far the device is: the phases as a row of steps, the download as a bar with real bytes. */
export function resetPreparation(): void {
  element('phases', HTMLOListElement).replaceChildren(...phases.map((phase) => create('li', {}, phase)));
  element('progress', HTMLProgressElement).value = 0;
  element('bytes', HTMLParagraphElement).textContent = '';
}

export function showPhase(phase: Phase): void {
  const index = phases.indexOf(phase);
  for (const [position, item] of [...element('phases', HTMLOListElement).children].entries()) {
    const state = position < index || phase === 'ready' ? 'done' : position === index ? 'now' : '';
    item.setAttribute('data-state', state);
  }
}

export function showDownload(loadedBytes: number, totalBytes: number): void {
  element('progress', HTMLProgressElement).value = totalBytes === 0 ? 1 : loadedBytes / totalBytes;
  element('bytes', HTMLParagraphElement).textContent = `${formatBytes(loadedBytes)} of ${formatBytes(totalBytes)}`;
}

export function showPreparationNote(text: string): void {
  element('bytes', HTMLParagraphElement).textContent = text;
}
