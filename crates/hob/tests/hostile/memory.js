// tries: takes memory outside of the interpreter's heap, which has a limit of its own
// limits: time=10s memory=96Mi
// expect: reason=memory|exit
const held = [];
for (;;) held.push(Buffer.alloc(1 << 20, 1));
