/** Turbopack and webpack need no setting for nearfar; these two let the test serve the output from a folder. */
export default { output: 'export', basePath: '/app' };
