// Finds, and where possible installs, the Chromium that tests run in, and the software GPU that comes with it.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** @returns {{ path?: string, tried: string[] }} the browser's executable, or where it was looked for. */
export function findBrowser() {
  const candidates = [process.env['CHROME_PATH'], ...installedBrowsers(), ...playwrightBrowsers()].filter((path) => path !== undefined);
  const path = candidates.find((candidate) => existsSync(candidate));
  return path === undefined ? { tried: candidates } : { path, tried: candidates };
}

/** Finds a browser or installs one. @throws when neither works, naming what was tried. */
export function ensureBrowser() {
  const found = findBrowser();
  if (found.path !== undefined) return found.path;
  const attempts = isRootOnDebian() ? [installByApt, installByPlaywright] : [installByPlaywright];
  /** @type {string[]} */
  const failures = [];
  for (const install of attempts) {
    const failure = install();
    const { path } = findBrowser();
    if (path !== undefined) return path;
    failures.push(failure ?? `${install.name} ended well but left no browser in a known place`);
  }
  const looked = found.tried.map((path) => `  ${path}`).join('\n');
  const tried = failures.map((failure) => `  ${failure}`).join('\n');
  throw new Error(
    `No Chromium, Chrome or Edge found. Looked at:\n${looked}\nTried to install one:\n${tried}\n` +
      'Install one and set CHROME_PATH to its executable, for example CHROME_PATH=/usr/bin/chromium npm test',
  );
}

/**
 * What Dawn in Node needs for a software GPU: the Vulkan loader and Chromium's SwiftShader. The environment must be set
 * before the process starts, because the dynamic linker reads LD_LIBRARY_PATH once.
 * @returns {{ env: Record<string, string> } | { env?: undefined, reason: string }}
 */
export function findSoftwareVulkan() {
  if (process.platform !== 'linux') return { reason: 'the software GPU for Node is set up on Linux only' };
  const browser = findBrowser().path;
  const folders = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome', '/opt/microsoft/msedge'];
  if (browser !== undefined) folders.unshift(dirname(realpathSync(browser)));
  const folder = folders.find((candidate) => existsSync(join(candidate, 'vk_swiftshader_icd.json')));
  if (folder === undefined) return { reason: `no vk_swiftshader_icd.json beside the browser (looked in ${folders.join(', ')})` };
  const icd = join(folder, 'vk_swiftshader_icd.json');
  const env = { VK_ICD_FILENAMES: icd, VK_DRIVER_FILES: icd };
  if (hasSystemVulkanLoader()) return { env };
  if (!existsSync(join(folder, 'libvulkan.so.1')))
    return { reason: 'libvulkan.so.1 is not installed (Debian: apt-get install libvulkan1)' };
  const inherited = process.env['LD_LIBRARY_PATH'];
  return { env: { ...env, LD_LIBRARY_PATH: inherited ? `${folder}:${inherited}` : folder } };
}

/** Installs the Vulkan loader where that is possible and needed. */
export function ensureVulkanLoader() {
  if (findSoftwareVulkan().env === undefined && isRootOnDebian() && !hasSystemVulkanLoader()) aptInstall('libvulkan1');
}

function hasSystemVulkanLoader() {
  const { stdout } = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });
  return (stdout ?? '').includes('libvulkan.so.1');
}

function installedBrowsers() {
  if (process.platform === 'darwin') {
    return ['Google Chrome', 'Chromium', 'Microsoft Edge'].flatMap((name) =>
      ['/Applications', join(homedir(), 'Applications')].map((folder) => `${folder}/${name}.app/Contents/MacOS/${name}`),
    );
  }
  if (process.platform === 'win32') {
    const folders = ['PROGRAMFILES', 'PROGRAMFILES(X86)', 'LOCALAPPDATA'].map((name) => process.env[name]);
    return folders
      .filter((folder) => folder !== undefined)
      .flatMap((folder) => [
        join(folder, 'Google/Chrome/Application/chrome.exe'),
        join(folder, 'Chromium/Application/chrome.exe'),
        join(folder, 'Microsoft/Edge/Application/msedge.exe'),
      ]);
  }
  return ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'microsoft-edge'].map((name) => `/usr/bin/${name}`);
}

/** Newest first. */
function playwrightBrowsers() {
  const caches = { linux: '.cache', darwin: 'Library/Caches', win32: 'AppData/Local' };
  const platform = process.platform === 'darwin' || process.platform === 'win32' ? process.platform : 'linux';
  const cache = process.env['PLAYWRIGHT_BROWSERS_PATH'] ?? join(homedir(), caches[platform], 'ms-playwright');
  if (!existsSync(cache)) return [];
  const builds = readdirSync(cache).filter((name) => /^chromium-\d+$/.test(name));
  builds.sort((a, b) => Number(b.slice(9)) - Number(a.slice(9)));
  const executables = ['chrome-linux64/chrome', 'chrome-linux/chrome', 'chrome-win64/chrome.exe', 'chrome-win/chrome.exe'];
  for (const folder of ['chrome-mac', 'chrome-mac-arm64', 'chrome-mac-x64']) {
    executables.push(`${folder}/Chromium.app/Contents/MacOS/Chromium`);
    executables.push(`${folder}/Google Chrome for Testing.app/Contents/MacOS/Google Chrome for Testing`);
  }
  return builds.flatMap((build) => executables.map((executable) => join(cache, build, executable)));
}

function isRootOnDebian() {
  return process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
}

function installByApt() {
  return aptInstall('chromium');
}

/** @param {string} name @returns {string | undefined} why it failed. */
function aptInstall(name) {
  console.log(`Installing ${name} by apt-get`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const update = spawnSync('apt-get', ['update', '-qq'], { stdio: ['ignore', 'ignore', 'inherit'], env });
  const install = spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env,
  });
  if (install.status === 0) return undefined;
  return `apt-get install ${name}: exit ${install.status} (apt-get update: exit ${update.status})`;
}

function installByPlaywright() {
  console.log('Installing Chromium by playwright-core');
  const cli = fileURLToPath(new URL('../node_modules/playwright-core/cli.js', import.meta.url));
  const { status } = spawnSync(process.execPath, [cli, 'install', 'chromium'], { stdio: ['ignore', 'inherit', 'inherit'] });
  return status === 0 ? undefined : `playwright-core install chromium: exit ${status}`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log(ensureBrowser());
  const vulkan = findSoftwareVulkan();
  console.log(vulkan.env ? JSON.stringify(vulkan.env) : vulkan.reason);
}
