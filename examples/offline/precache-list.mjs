// node precache-list.mjs FOLDER [BASE] [LEAVE_OUT]: writes FOLDER/precache.json, the list of what service-worker.js keeps
// from the first visit on. BASE is the path under which the folder is served. LEAVE_OUT is a pattern of files that the
// application never needs, such as `ort-.*\.wasm` where it runs on TensorFlow.js alone.
import { readdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const [folder, base = '/', leaveOut = '\\.map$'] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: node precache-list.mjs FOLDER [BASE] [LEAVE_OUT]');
const isLeftOut = new RegExp(leaveOut);
const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
  .filter((path) => path !== 'precache.json' && !path.startsWith('models/') && !isLeftOut.test(path));
writeFileSync(`${folder}/precache.json`, JSON.stringify(paths.map((path) => `${base}${path}`)));
