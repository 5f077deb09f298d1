// tries: never comes back, and catches what can be caught
// limits: time=2s
// expect: reason=timeout
for (const name of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(name, () => {});
process.on("uncaughtException", () => {});
for (;;);
