package shiftsync

// idList holds ids in pieces, so that it takes 8 bytes for each even while it grows. It implements sort.Interface.
type idList struct {
	pieces [][]int64 // all of them full, save the last
}

const idPiece = 8192

func (l *idList) add(id int64) {
	last := len(l.pieces) - 1
	if last < 0 || len(l.pieces[last]) == idPiece {
		l.pieces = append(l.pieces, make([]int64, 0, idPiece))
		last++
	}
	l.pieces[last] = append(l.pieces[last], id)
}

func (l *idList) at(i int) int64     { return l.pieces[i/idPiece][i%idPiece] }
func (l *idList) Less(i, j int) bool { return l.at(i) < l.at(j) }

func (l *idList) Swap(i, j int) {
	a, b := &l.pieces[i/idPiece][i%idPiece], &l.pieces[j/idPiece][j%idPiece]
	*a, *b = *b, *a
}

func (l *idList) Len() int {
	if len(l.pieces) == 0 {
		return 0
	}
	last := len(l.pieces) - 1
	return last*idPiece + len(l.pieces[last])
}
