"""Words of generated container names: an adjective and the surname of someone known in science or engineering."""

from __future__ import annotations

_ADJECTIVES = """
able agile airy alert amber ample apt azure bold brave breezy bright brisk calm candid careful cheerful civil
clear clever cosmic crisp curious daring deft eager earnest easy elated elegant epic exact fair famous
fearless fervent fine fond frank free fresh gallant gentle gifted glad golden graceful grand happy hardy
hearty honest hopeful humble ideal jolly jovial keen kind lively loyal lucid lucky mellow merry mild modest
neat nimble noble open patient peaceful placid playful polite proud prudent quick quiet rapid ready robust
serene sharp silent silver sincere sleek smart snug sober solid spry stable steady sturdy sunny swift tidy
tender trusty upbeat valiant vivid warm wise witty zealous
"""
_SURNAMES = """
abel agnesi alferov almeida ampere archimedes aristotle aryabhata avogadro babbage banach bardeen bartik bassi
becquerel bell benz berners bernoulli bessel bhabha bhaskara blackburn blackwell bohr boltzmann boole borg
bose boyd brahe brattain brown buck burnell cannon cantor carson cartwright cauchy cavendish cerf
chandrasekhar chatelet chatterjee chaum chebyshev clarke cohen colden compton copernicus cori coulomb cray
curie curran dalton darwin davinci dedekind descartes dewdney dijkstra dirac driscoll dubinsky easley edison
einstein elbakyan elgamal elion ellis engelbart eratosthenes euclid euler faraday feistel fermat fermi feynman
fibonacci fisher fleming fourier franklin galileo galois gates gauss germain gibbs goldberg goldstine
goldwasser golick goodall gould greider grothendieck haibt hamilton hawking heaviside heisenberg hellman
hermann herschel hertz hilbert hodgkin hoover hopper hubble hugle huygens hypatia jackson jang jemison
jennings jepsen joliot jones joule kalam kapitsa kare keldysh keller kepler khayyam khorana kilby kirch knuth
kowalevski lagrange lalande lamarr lamport laplace leakey leavitt lederberg lehmann leibniz lewin lichterman
liskov lovelace lumiere mahavira margulis markov matsumoto maxwell mayer mccarthy mcclintock mclaren mclean
mcnulty meitner mendel mendeleev meninsky merkle mestorf mirzakhani montalcini moore morse moser murdock
napier nash neumann newton nightingale nobel noether northcutt noyce ohm panini pare pascal pasteur payne
perlman pike planck poincare poitras proskuriakova ptolemy pythagoras raman ramanujan rhodes ride riemann
ritchie robinson roentgen rosalind rubin saha sammet sanderson satoshi shamir shannon shaw shirley shockley
shtern sinoussi snyder solomon spence stonebraker sutherland swanson swartz swirles taussig tereshkova tesla
tharp thompson torvalds tu turing varahamihira vaughan villani visvesvaraya volhard volta wescoff wilbur wiles
williams williamson wilson wing wozniak wright wu yalow yonath zhukovsky
"""

ADJECTIVES: tuple[str, ...] = tuple(_ADJECTIVES.split())
SURNAMES: tuple[str, ...] = tuple(_SURNAMES.split())
