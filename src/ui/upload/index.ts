export { filesOfDrop, filesOfInput, type VersionFile } from './read-folder.ts';
export { type SendProgress, sendVersion } from './send-version.ts';
