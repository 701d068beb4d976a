// Writes entries to a history until it is killed, and says each one that is written.
import { openSqliteHistory } from '../../dist/server/history/index.js';

const [file = ''] = process.argv.slice(2);
const history = openSqliteHistory({ file, server: 'writer', log: /** @type {any} */ (console) });
for (let count = 1; ; count++) {
  await history.record({ who: 'writer', way: 'server', action: 'load', model: 'm', version: String(count), outcome: 'done' });
  process.stdout.write(`${count}\n`);
}
