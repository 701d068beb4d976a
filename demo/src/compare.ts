import type { Classification } from 'nearfar';
import { create, element, messageOf } from './dom.ts';
import type { Choice, Session } from './session.ts';

/** Asks both legs for the same photo and shows every class side by side with the largest difference. */
export async function compareLegs(session: Session, choice: Choice, photo: Blob): Promise<void> {
  const place = element('comparison', HTMLDivElement);
  place.replaceChildren('Asking both legs…');
  try {
    await compareIn(place, session, choice, photo);
  } catch (error) {
    place.replaceChildren(create('p', { className: 'problem' }, `Not compared. ${messageOf(error)}`));
    throw error;
  }
}

async function compareIn(place: HTMLElement, session: Session, choice: Choice, photo: Blob): Promise<void> {
  await using near = await session.openBeside({ ...choice, mode: 'only-on-device' });
  await using far = await session.openBeside({ ...choice, mode: 'only-server' });
  const topK = near.info.labels?.length ?? 1000;
  const [onDevice, onServer] = await Promise.all([near.classify(photo, { topK }), far.classify(photo, { topK })]);

  const serverScores = new Map(onServer.predictions.map(({ index, score }) => [index, score]));
  const differenceOf = ({ index, score }: Classification) => Math.abs(score - (serverScores.get(index) ?? Number.NaN));
  const largest = Math.max(...onDevice.predictions.map(differenceOf));
  const isSameTop = onDevice.predictions[0]?.index === onServer.predictions[0]?.index;
  const isSameVersion = onDevice.run.digest === onServer.run.digest;
  place.replaceChildren(
    create(
      'p',
      {},
      create('b', {}, `Largest difference ${largest.toExponential(1)}`),
      ` over ${onDevice.predictions.length} classes, ${isSameTop ? 'same' : 'DIFFERENT'} first class, ${isSameVersion ? 'same' : 'DIFFERENT'} digest.`,
    ),
    create(
      'table',
      {},
      create(
        'thead',
        {},
        row('th', [
          'Class',
          `near: ${onDevice.run.engine} ${onDevice.run.backend}`,
          `far: ${onServer.run.engine} ${onServer.run.backend}`,
          'difference',
        ]),
      ),
      create(
        'tbody',
        {},
        ...onDevice.predictions
          .slice(0, 5)
          .map((near) =>
            row('td', [
              near.label,
              near.score.toFixed(6),
              (serverScores.get(near.index) ?? Number.NaN).toFixed(6),
              differenceOf(near).toExponential(1),
            ]),
          ),
        row('td', ['time', `${onDevice.run.timing.totalMs.toFixed(1)} ms`, `${onServer.run.timing.totalMs.toFixed(1)} ms`, '']),
      ),
    ),
  );
}

function row(tag: 'td' | 'th', cells: readonly string[]): HTMLTableRowElement {
  return create('tr', {}, ...cells.map((cell) => create(tag, {}, cell)));
}
