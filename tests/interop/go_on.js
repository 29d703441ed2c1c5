// The call that another script began goes on: answers once both sides decoded that many frames more.
const [framesWanted, done] = arguments;

async function goOn() {
  const before = (await window.look()).map((side) => side.frames);
  const began = performance.now();
  const enough = (side, index) => side.frames > before[index] + framesWanted;
  const found = await window.eventually(async () => {
    const sides = await window.look();
    return sides.every(enough) && sides;
  });
  return {
    sides: found ?? (await window.look()),
    complete: found !== undefined,
    states: window.states,
    took: performance.now() - began,
  };
}

goOn().then(done, (error) => done({ errors: [String(error)], sides: [] }));
