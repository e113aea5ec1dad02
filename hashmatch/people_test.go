package hashmatch_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tributary-health/tributary/hashmatch"
)

// synthetic is a person of a made-up population, as the payer has them, and as
// the partner has them: with slips of the pen, gaps and old data.
type synthetic struct {
	group  string
	member hashmatch.Demographics
	asked  hashmatch.Demographics
}

// population makes people of several kinds of family. Names are made of
// syllables: they are nobody's.
type population struct {
	r    *rand.Rand
	next int
	all  []synthetic
}

// people makes so many families of each group, the same for one seed.
func people(seed uint64, families int) []synthetic {
	p := &population{r: rand.New(rand.NewPCG(seed, 7))}
	for range families {
		p.single("one alone", p.name(latin), p.name(latin))
		p.single("Spanish double name", p.pick(spanishGiven)+" "+p.pick(spanishGiven), p.name(latin)+"ez "+p.name(latin)+"oz")
		p.single("letters beyond ASCII", p.name(marked), p.name(marked))
		p.single("another script", p.name(cyrillic), p.name(cyrillic))
		p.single("nickname", p.pick(nicknamed), p.name(latin))
		p.twins()
		p.juniorSenior()
		p.family()
	}
	return p.all
}

var (
	latin        = []string{"ba", "ren", "dol", "mi", "ska", "tor", "ven", "lu", "har", "pel", "quin", "ost", "wer", "ny", "cal", "fin", "gra", "ju", "zel", "ith"}
	marked       = []string{"sø", "ré", "łu", "ñe", "ße", "žan", "çe", "mü", "ðar", "kå", "lić", "gó"}
	cyrillic     = []string{"во", "ла", "ми", "ра", "не", "со", "ки", "да", "ти", "бе"}
	spanishGiven = []string{"María", "José", "Luz", "Juan", "Ana", "Luis", "Rosa", "Inés", "Jesús", "Pilar"}
	nicknamed    = []string{"William|Bill", "Margaret|Peggy", "Robert|Bob", "Elizabeth|Betty", "James|Jim", "Patricia|Trish", "Richard|Rick", "Theodore|Ted"}
	streetNames  = []string{"Alder", "Birch", "Canal", "Dune", "Elder", "Forge", "Granite", "Harbor", "Juniper", "Kestrel", "Linden", "Mason"}
	streetKinds  = []string{"Street", "Avenue", "Road", "Court", "Lane", "Boulevard"}
)

func (p *population) pick(all []string) string { return all[p.r.IntN(len(all))] }

func (p *population) name(syllables []string) string {
	s := ""
	for range 2 + p.r.IntN(2) {
		s += p.pick(syllables)
	}
	return strings.ToUpper(string([]rune(s)[:1])) + string([]rune(s)[1:])
}

func (p *population) home() hashmatch.Address {
	return hashmatch.Address{Line: fmt.Sprintf("%d %s %s", 1+p.r.IntN(900), p.pick(streetNames), p.pick(streetKinds)), ZIP: fmt.Sprintf("%05d", 10000+p.r.IntN(300))}
}

func (p *population) phone() string {
	return fmt.Sprintf("%d%d", 201+p.r.IntN(700), 2000000+p.r.IntN(7999999))
}

func (p *population) birth(from, to int) string {
	return fmt.Sprintf("%d-%02d-%02d", from+p.r.IntN(to-from), 1+p.r.IntN(12), 1+p.r.IntN(28))
}

// person is somebody with all seven facts. given may name a short form behind |,
// which the partner has.
func (p *population) person(given, family, birth, sex string, home hashmatch.Address, phone, card string) hashmatch.Demographics {
	p.next++
	return hashmatch.Demographics{
		Names:     []hashmatch.Name{{Family: family, Given: []string{given}}},
		BirthDate: birth, Sex: sex, Addresses: []hashmatch.Address{home}, Phones: []string{phone},
		MemberIDs: []string{card}, SSN: fmt.Sprintf("%04d", 1+p.r.IntN(9998)),
	}
}

func (p *population) card() string { return fmt.Sprintf("CARD%08d", p.r.IntN(1e8)) }

func (p *population) put(group string, d hashmatch.Demographics) {
	given, short, _ := strings.Cut(d.Names[0].Given[0], "|")
	d.Names = []hashmatch.Name{{Family: d.Names[0].Family, Given: []string{given}}}
	asked := d
	if short != "" {
		asked.Names = []hashmatch.Name{{Family: d.Names[0].Family, Given: []string{short}}}
	}
	p.all = append(p.all, synthetic{group, d, p.worn(asked)})
}

func (p *population) single(group, given, family string) {
	p.put(group, p.person(given, family, p.birth(1930, 2020), p.pick([]string{"F", "M"}), p.home(), p.phone(), p.card()))
}

// twins share all but the given name, the end of the number and, of two, the
// sex. Their card is the household's.
func (p *population) twins() {
	family, birth, home, phone, card := p.name(latin), p.birth(1960, 2020), p.home(), p.phone(), p.card()
	first, second := p.name(latin), p.name(latin)
	sex := p.pick([]string{"F", "M"})
	p.put("twins", p.person(first, family, birth, sex, home, phone, card))
	p.put("twins", p.person(second, family, birth, sex, home, phone, card))
}

// juniorSenior share the whole name, the home, the phone and the card.
func (p *population) juniorSenior() {
	given, family, home, phone, card := p.name(latin), p.name(latin), p.home(), p.phone(), p.card()
	p.put("junior and senior", p.person(given, family+" Sr.", p.birth(1935, 1960), "M", home, phone, card))
	p.put("junior and senior", p.person(given, family, p.birth(1962, 1995), "M", home, phone, card))
}

func (p *population) family() {
	family, home, phone, card := p.name(latin), p.home(), p.phone(), p.card()
	for _, born := range []int{1970, 1972, 2001, 2004} {
		p.put("household", p.person(p.name(latin), family, p.birth(born, born+2), p.pick([]string{"F", "M"}), home, phone, card))
	}
}

// worn is what a partner has of d: each fact missing, mistyped or old now and
// then, and half of all partners know neither card nor number.
func (p *population) worn(d hashmatch.Demographics) hashmatch.Demographics {
	name := d.Names[0]
	given, family := name.Given[0], name.Family
	home := d.Addresses[0]
	phone := d.Phones[0]
	p.maybe(0.04, func() { given = p.slip(given) })
	p.maybe(0.04, func() { family = p.slip(family) })
	p.maybe(0.02, func() { given, family = family, given })
	p.maybe(0.03, func() { family = p.name(latin) })
	p.maybe(0.03, func() { d.BirthDate = d.BirthDate[:5] + d.BirthDate[8:] + d.BirthDate[4:7] })
	p.maybe(0.03, func() { d.BirthDate = p.slipDigit(d.BirthDate) })
	p.maybe(0.05, func() { d.Sex = "" })
	p.maybe(0.12, func() { home, phone = p.home(), p.phone() })
	p.maybe(0.06, func() { home.Line = p.slip(home.Line) })
	p.maybe(0.10, func() { home = hashmatch.Address{} })
	p.maybe(0.15, func() { phone = p.phone() })
	p.maybe(0.10, func() { phone = "" })
	p.maybe(0.50, func() { d.SSN = "" })
	p.maybe(0.04, func() { d.SSN = p.slipDigit(d.SSN) })
	p.maybe(0.50, func() { d.MemberIDs = nil })
	d.Names = []hashmatch.Name{{Family: strings.TrimSuffix(family, " Sr."), Given: []string{given}}}
	d.Addresses, d.Phones = []hashmatch.Address{home}, []string{phone}
	return d
}

func (p *population) maybe(chance float64, fn func()) {
	if p.r.Float64() < chance {
		fn()
	}
}

// slip leaves out, doubles or swaps a letter.
func (p *population) slip(s string) string {
	r := []rune(s)
	if len(r) < 3 {
		return s
	}
	i := p.r.IntN(len(r) - 1)
	switch p.r.IntN(3) {
	case 0:
		return string(slices.Delete(r, i, i+1))
	case 1:
		return string(slices.Insert(r, i, r[i]))
	}
	r[i], r[i+1] = r[i+1], r[i]
	return string(r)
}

func (p *population) slipDigit(s string) string {
	b := []byte(s)
	if len(b) == 0 {
		return s
	}
	i := p.r.IntN(len(b))
	if b[i] >= '0' && b[i] <= '9' {
		b[i] = '0' + (b[i]-'0'+1)%10
	}
	return string(b)
}
